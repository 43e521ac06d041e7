//! What `gluster volume heal VOLUME info summary` says, and `glfsheal VOLUME info-summary`, which asks as a client.

use holdfast_extension::storage_check::Answer;

/// What is known of a brick.
#[derive(Default)]
struct Brick<'a> {
    name: &'a str,
    connected: Option<bool>,
    waiting: Option<u64>,
}

impl Brick<'_> {
    /// None: it has the same as the others.
    fn fault(&self) -> Option<Answer> {
        let name = self.name;
        match (self.connected, self.waiting) {
            (Some(false), _) => Some(Answer::No(format!("{name} is not connected"))),
            (_, Some(waiting)) if waiting > 0 => {
                Some(Answer::No(format!("{name}: {waiting} entries to heal")))
            }
            (Some(true), Some(_)) => None,
            _ => Some(Answer::Unknown(format!(
                "{name}: heal does not say how it stands"
            ))),
        }
    }
}

/// Whether all bricks are there and have the same. A brick of which anything is not said is not one of them.
pub(crate) fn answer(text: &str) -> Answer {
    let bricks = bricks(text);
    if bricks.is_empty() {
        return Answer::Unknown("heal names no brick".to_owned());
    }
    let faults: Vec<Answer> = bricks.iter().filter_map(Brick::fault).collect();
    let words = |wanted: fn(&Answer) -> Option<&String>| {
        let words: Vec<&str> = faults
            .iter()
            .filter_map(wanted)
            .map(String::as_str)
            .collect();
        (!words.is_empty()).then(|| words.join("; "))
    };
    let no = words(|answer| match answer {
        Answer::No(why) => Some(why),
        _ => None,
    });
    let unknown = words(|answer| match answer {
        Answer::Unknown(why) => Some(why),
        _ => None,
    });
    match (no, unknown) {
        (Some(why), _) => Answer::No(why),
        (None, Some(why)) => Answer::Unknown(why),
        (None, None) => Answer::Yes,
    }
}

fn bricks(text: &str) -> Vec<Brick<'_>> {
    let mut bricks: Vec<Brick<'_>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("Brick ") {
            bricks.push(Brick {
                name: name.trim(),
                ..Brick::default()
            });
        }
        let (Some(brick), Some((key, value))) = (bricks.last_mut(), line.split_once(':')) else {
            continue;
        };
        match key.trim() {
            "Status" => brick.connected = Some(value.trim() == "Connected"),
            "Total Number of entries" => brick.waiting = value.trim().parse().ok(),
            _ => {}
        }
    }
    bricks
}
