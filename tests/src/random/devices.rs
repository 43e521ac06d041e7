//! Fencing devices of random clusters: none, one for some hosts or for each of them, or several for each.

use super::HOSTS;
use super::draw::Random;

const BOARD: &str = "{ agent = \"ipmi\", timeout_ms = 4000ASKERS }";

/// What every fourth cluster has: two of one order, a board and the outlets of two supplies, two orders, two supplies
/// alone. One call may take a board with another behind it for long.
const SEVERAL: [(&str, &str); 9] = [
    ("a1", "agent = \"ipmi\", timeout_ms = 4000"),
    (
        "a1-strip",
        "hosts = [\"a1\"], options = { plug = \"1\" }, agent = \"pdu\", timeout_ms = 4000",
    ),
    ("a2", "agent = \"ipmi\", timeout_ms = 4000"),
    (
        "a2-left",
        "hosts = [\"a2\"], options = { plug = \"2\" }, agent = \"pdu\", timeout_ms = 4000, order = 2, all_of = true",
    ),
    (
        "a2-right",
        "hosts = [\"a2\"], options = { plug = \"3\" }, agent = \"pdu\", timeout_ms = 4000, order = 2, all_of = true",
    ),
    ("b1", "agent = \"ipmi\", timeout_ms = 20000"),
    (
        "b1-strip",
        "hosts = [\"b1\"], options = { plug = \"4\" }, agent = \"pdu\", timeout_ms = 4000, order = 2",
    ),
    (
        "b2-left",
        "hosts = [\"b2\"], options = { plug = \"5\" }, agent = \"pdu\", timeout_ms = 4000, all_of = true",
    ),
    (
        "b2-right",
        "hosts = [\"b2\"], options = { plug = \"6\" }, agent = \"pdu\", timeout_ms = 4000, all_of = true",
    ),
];

/// From where each of them is reached: every site, its own, its own and another one, the witness alone.
const FROM: [&str; 5] = [
    "",
    "",
    ", from = [\"SITE\"]",
    ", from = [\"SITE\", \"w\"]",
    ", from = [\"w\"]",
];

/// Who may ask them.
const ASKERS: [&str; 6] = [
    "",
    "",
    "",
    ", askers = [\"managers\", \"agents\"]",
    ", askers = [\"agents\"]",
    ", askers = [\"agents\"]",
];

/// With which programs the agent of a host asks them: of boards and of strips.
const MEANS: [&str; 5] = [
    " asks=ipmi,pdu",
    " asks=ipmi,pdu",
    " asks=ipmi,pdu",
    " asks=ipmi",
    "",
];

/// Every other cluster has fencing devices, some for all of its hosts; they are asked early or late.
pub fn of_some(random: &mut Random) -> String {
    let mut lines = Vec::new();
    if random.below(2) == 0 {
        let few = random.below(2) == 0;
        for host in HOSTS.iter().filter(|host| !few || host.ends_with('1')) {
            lines.push(format!("policy fencing.devices.{host} = {BOARD}"));
        }
        let hasty = random.below(2) == 0;
        lines.push(format!("policy fencing.on_suspicion = {hasty}"));
    }
    lines.join("\n")
}

/// Where managers ask hosts directly every host has a device, and it is asked on suspicion: what is suspect
/// then is of consequence.
pub fn hasty(devices: &str) -> String {
    let mut lines = others(devices, &["on_suspicion", "devices."]);
    let all = HOSTS.iter();
    lines.extend(all.map(|host| format!("policy fencing.devices.{host} = {BOARD}")));
    lines.push("policy fencing.on_suspicion = true".to_owned());
    lines.join("\n")
}

/// Several for each host, instead of those; asked on suspicion, unless that was drawn otherwise.
pub fn several(devices: &str, random: &mut Random) -> String {
    let mut lines = others(devices, &["devices."]);
    let from = random.of(&FROM);
    let each = SEVERAL.map(|(name, how)| {
        let from = from.replace("SITE", &name[..1]);
        format!("\"{name}\" = {{ {how}{from}ASKERS }}")
    });
    lines.push(format!(
        "policy fencing.devices = {{ {} }}",
        each.join(", ")
    ));
    if !devices.contains("on_suspicion") {
        lines.push("policy fencing.on_suspicion = true".to_owned());
    }
    lines.join("\n")
}

/// Who may ask them, as drawn.
pub struct Askers {
    /// The devices.
    pub devices: String,
    /// With what the agents of hosts ask: in the order of [`HOSTS`], a setting of each.
    pub means: [&'static str; 4],
    /// Agents may ask at least one.
    pub agents: bool,
}

/// Managers, agents for want of those, or agents alone; whose hosts have the programs, all or some of them.
pub fn asked_by(devices: &str, random: &mut Random) -> Askers {
    if devices.is_empty() {
        return Askers {
            devices: String::new(),
            means: [""; 4],
            agents: false,
        };
    }
    let askers = random.of(&ASKERS);
    let agents = askers.contains("agents");
    // That a host has the programs is no leave to ask with them.
    let idle = !agents && random.below(2) == 0;
    let means = HOSTS.map(|_| match idle {
        true => "",
        false => random.of(&MEANS),
    });
    Askers {
        devices: devices.replace("ASKERS", askers),
        means,
        agents,
    }
}

/// The lines that say nothing of these.
fn others(lines: &str, these: &[&str]) -> Vec<String> {
    let other = |line: &&str| !these.iter().any(|word| line.contains(word));
    lines.lines().filter(other).map(str::to_owned).collect()
}
