//! Commands that show something.

use super::args::Output;
use super::error::CliError;
use super::paint::{Line, Tone, seconds, table, wrapped};
use super::{Session, hint, print, print_json, show_status, show_timeline};
use crate::api::config::Config;
use crate::api::events::Listed;
use crate::api::reads::{Page, SiteDetail, VmDetail};
use crate::rto::Rto;
use crate::timeline::Incident;
use crate::wall::moment;
use crate::why::{Heard, WhyHost, WhyVm};
use holdfast_model::event::EventKind;
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::status::{Host, Site, Status, Vm};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader};
use std::time::Duration;

/// A watched status is drawn again this often.
const REDRAW: Duration = Duration::from_secs(1);

impl Session {
    /// Gets something; prints it as JSON, or as the function draws it.
    pub(super) fn shown<T: DeserializeOwned>(
        &self,
        path: &str,
        draw: impl FnOnce(&T, bool) -> String,
    ) -> Result<(), CliError> {
        if self.output == Output::Json {
            let (_, value) = self.client.get_value(path)?;
            return print_json(&value);
        }
        let value: T = self.client.get(path)?;
        print(&draw(&value, self.output == Output::Wide))
    }

    /// Gets all pages of a list.
    fn all<T: DeserializeOwned + Serialize>(&self, path: &str) -> Result<Vec<T>, CliError> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let page: Page<T> = self.client.get(&format!("{path}{after}"))?;
            items.extend(page.items);
            match page.next {
                Some(next) => after = format!("?after={next}"),
                None => return Ok(items),
            }
        }
    }

    fn listed<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        draw: impl FnOnce(&[T], bool) -> String,
    ) -> Result<(), CliError> {
        let items = self.all::<T>(path)?;
        if self.output == Output::Json {
            return print_json(&items);
        }
        print(&draw(&items, self.output == Output::Wide))
    }

    pub(super) fn status(&self, watch: bool) -> Result<(), CliError> {
        loop {
            if !watch {
                return self.shown::<Status>("/status", show_status::screen);
            }
            let screen = match self.client.get::<Status>("/status") {
                Ok(status) => show_status::screen(&status, self.output == Output::Wide),
                Err(error) => format!("{error}\n"),
            };
            print(&format!("\x1b[2J\x1b[H{screen}"))?;
            std::thread::sleep(REDRAW);
        }
    }

    pub(super) fn hosts(&self) -> Result<(), CliError> {
        self.listed::<Host>("/hosts", show_status::host_table)
    }

    pub(super) fn sites(&self) -> Result<(), CliError> {
        self.listed::<Site>("/sites", |sites, _| show_status::site_table(sites))
    }

    pub(super) fn vms(&self) -> Result<(), CliError> {
        self.listed::<Vm>("/vms", |vms, wide| {
            show_status::vm_table(&vms.iter().collect::<Vec<_>>(), wide)
        })
    }

    pub(super) fn site_show(&self, site: &SiteName) -> Result<(), CliError> {
        self.shown::<SiteDetail>(&format!("/sites/{site}"), |detail, wide| {
            let vms: Vec<&str> = detail.vms.iter().map(VmName::as_str).collect();
            show_status::site_table(std::slice::from_ref(&detail.site))
                + "\n"
                + &show_status::host_table(&detail.hosts, wide)
                + &format!("\nVMs there: {}\n", vms.join(", "))
        })
    }

    pub(super) fn vm_show(&self, vm: &VmName, xml: bool) -> Result<(), CliError> {
        let path = format!("/vms/{vm}");
        if xml {
            let detail: VmDetail = self.client.get(&path)?;
            let xml = detail.spec.map(|spec| spec.domain_xml).unwrap_or_default();
            return print(&(xml.trim_end().to_owned() + "\n"));
        }
        self.shown::<VmDetail>(&path, |detail, _| vm_detail(detail))
    }

    pub(super) fn why_vm(&self, vm: &VmName, not_on: Option<&HostName>) -> Result<(), CliError> {
        let query = not_on
            .map(|host| format!("?not_on={host}"))
            .unwrap_or_default();
        self.shown::<WhyVm>(&format!("/why/vm/{vm}{query}"), |why, _| {
            let said = why.extensions.iter().flat_map(Heard::lines);
            let lines: Vec<String> = why.because.iter().cloned().chain(said).collect();
            let mut out = because(&lines);
            if let Some(not_on) = &why.not_on {
                let tone = if not_on.possible {
                    Tone::Good
                } else {
                    Tone::Warn
                };
                let line = Line::new()
                    .add(tone, format!("why not on {}: ", not_on.host))
                    .text(&not_on.reason);
                out += &(line.draw() + "\n");
            }
            out
        })
    }

    pub(super) fn why_host(&self, host: &HostName) -> Result<(), CliError> {
        self.shown::<WhyHost>(&format!("/why/host/{host}"), |why, _| {
            let vms: Vec<&str> = why.vms.iter().map(VmName::as_str).collect();
            let mut lines = why.because.clone();
            lines.push(match vms.len() {
                0 => "it holds no VMs".to_owned(),
                1 => format!("it holds 1 VM: {}", vms.join(", ")),
                n => format!("it holds {n} VMs: {}", vms.join(", ")),
            });
            because(&lines)
        })
    }

    pub(super) fn timeline(&self, id: Option<&str>) -> Result<(), CliError> {
        match id {
            Some(id) => self.shown::<Incident>(&format!("/timeline/{id}"), |incident, _| {
                show_timeline::lanes(incident)
            }),
            None => {
                self.listed::<Incident>("/timeline", |incidents, _| {
                    show_timeline::list(incidents)
                })?;
                if self.output != Output::Json {
                    hint("`holdfast timeline ID` draws one; `holdfast timeline last` the newest");
                }
                Ok(())
            }
        }
    }

    pub(super) fn rto(&self) -> Result<(), CliError> {
        self.shown::<Rto>("/rto", |rto, _| bounds(rto))
    }

    pub(super) fn config_show(&self) -> Result<(), CliError> {
        let (_, value) = self.client.get_value("/config")?;
        if self.output == Output::Json {
            return print_json(&value);
        }
        let config: Config =
            serde_json::from_value(value).map_err(|error| CliError::Write(error.into()))?;
        let text = toml::to_string(&config.policy)
            .map_err(|error| CliError::Write(std::io::Error::other(error)))?;
        print(&(text.trim_end().to_owned() + "\n"))?;
        match config.revision {
            Some(revision) => hint(&format!("revision {revision}")),
            None => hint("no policy was applied yet: these are the built-in values"),
        }
        if let Some(unread) = config.unread {
            let text = format!(
                "this is the one that was read last, and not the newest: {}",
                unread.detail
            );
            hint(&Line::new().add(Tone::Warn, "note: ").text(text).draw());
        }
        Ok(())
    }

    pub(super) fn events(
        &self,
        follow: bool,
        vm: Option<&VmName>,
        host: Option<&HostName>,
        limit: usize,
    ) -> Result<(), CliError> {
        let mut path = format!("/events?limit={limit}");
        if let Some(vm) = vm {
            path += &format!("&vm={vm}");
        }
        if let Some(host) = host {
            path += &format!("&host={host}");
        }
        if !follow {
            let (_, value) = self.client.get_value(&path)?;
            if self.output == Output::Json {
                return print_json(&value["items"]);
            }
            let page: Page<Listed> =
                serde_json::from_value(value).map_err(|error| CliError::Write(error.into()))?;
            return print(&page.items.iter().map(event_line).collect::<String>());
        }
        self.follow(&path)
    }

    /// Follows the stream; when a manager ends, goes on at the next from where it was.
    fn follow(&self, path: &str) -> Result<(), CliError> {
        let mut last = None;
        loop {
            let after = last
                .as_ref()
                .map(|id| format!("&after={id}"))
                .unwrap_or_default();
            let stream = BufReader::new(self.client.stream(&format!("{path}{after}"))?);
            for line in stream.lines() {
                // The manager went away: the next one goes on.
                let Ok(line) = line else { break };
                let Some(data) = line.strip_prefix("data:") else {
                    continue;
                };
                let Ok(listed) = serde_json::from_str::<Listed>(data.trim()) else {
                    continue;
                };
                if self.output == Output::Json {
                    print(&(data.trim().to_owned() + "\n"))?;
                } else {
                    print(&event_line(&listed))?;
                }
                last = Some(listed.id);
            }
            hint("the manager ended the stream; asking again");
            std::thread::sleep(REDRAW);
        }
    }
}

fn because(lines: &[String]) -> String {
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let line = if index == 0 {
            Line::new().add(Tone::Bold, wrapped(line, 0, 4))
        } else {
            Line::new().add(Tone::Dim, "  • ").text(wrapped(line, 4, 4))
        };
        out += &(line.draw() + "\n");
    }
    out
}

fn event_line(listed: &Listed) -> String {
    let event = &listed.event;
    let tone = match event.kind {
        EventKind::HostFenced | EventKind::SelfFenced | EventKind::VmExited => Tone::Bad,
        EventKind::HostSuspect | EventKind::MigrationFailed | EventKind::OpRefused => Tone::Warn,
        EventKind::VmRunning | EventKind::HostOnline | EventKind::MigrationDone => Tone::Good,
        EventKind::Note => Tone::Dim,
        _ => Tone::Busy,
    };
    Line::new()
        .add(Tone::Dim, moment(event.at))
        .add(tone, format!("  {:<18}", crate::why::word(&event.kind)))
        .text(format!(" {}", event.text))
        .draw()
        + "\n"
}

fn vm_detail(detail: &VmDetail) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("name", detail.vm.name.to_string()),
        ("state", crate::why::word(&detail.vm.state)),
        ("why", detail.vm.reason.clone()),
        (
            "host",
            detail
                .vm
                .host
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string),
        ),
        (
            "site",
            detail
                .vm
                .site
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string),
        ),
        ("generation", detail.vm.generation.to_string()),
        ("lease", detail.vm.lease.clone()),
    ];
    if let Some(spec) = &detail.spec {
        let site = spec
            .preferred_site
            .as_ref()
            .map_or("any".to_owned(), ToString::to_string);
        rows.extend([
            ("uuid", spec.uuid.to_string()),
            ("should run", if spec.run { "yes" } else { "no" }.to_owned()),
            ("memory", format!("{} MiB", spec.memory_mib)),
            ("vCPUs", spec.vcpus.to_string()),
            ("priority", spec.priority.to_string()),
            (
                "preferred",
                format!("{site} ({})", crate::why::word(&spec.site_rule)),
            ),
            (
                "spread",
                spec.spread.clone().unwrap_or_else(|| "-".to_owned()),
            ),
            (
                "I/O error",
                match &spec.on_io_error {
                    Some(own) => crate::why::word(own),
                    None => "as the policy says".to_owned(),
                },
            ),
        ]);
        if let Ok(domain) = crate::domain_xml::DomainXml::parse(&spec.domain_xml) {
            rows.push(("disks", domain.disks.join(", ")));
        }
    }
    if let Some(revision) = detail.revision {
        rows.push(("revision", revision.to_string()));
    }
    let tone = Tone::of_vm(detail.vm.state);
    let line = |(key, value): (&str, String)| {
        let tone = if key == "state" { tone } else { Tone::Plain };
        Line::new()
            .add(Tone::Dim, format!("{key:<12}"))
            .add(tone, value)
            .draw()
            + "\n"
    };
    rows.into_iter().map(line).collect()
}

fn bounds(rto: &Rto) -> String {
    let safety = format!("profile {}: {}", rto.profile, rto.safety);
    let mut out = wrapped(&safety, 0, 2) + "\n\n";
    let rows = rto.bounds.iter().map(|bound| {
        let parts: Vec<String> = bound
            .parts
            .iter()
            .map(|part| format!("{} {}", part.text, seconds(part.ms)))
            .collect();
        let (tone, total) = match bound.total_ms {
            0 => (Tone::Good, "not away".to_owned()),
            ms => (Tone::Bold, format!("≤ {}", seconds(ms))),
        };
        vec![
            (Tone::Plain, bound.title.clone()),
            (tone, total),
            (
                Tone::Dim,
                if parts.is_empty() {
                    bound.outcome.clone()
                } else {
                    parts.join(" + ")
                },
            ),
        ]
    });
    out += &table(&["WHEN", "AWAY", "MADE OF"], rows.collect());
    out += "\n";
    for note in &rto.notes {
        out += &(Line::new()
            .add(Tone::Dim, format!("• {}", wrapped(note, 2, 2)))
            .draw()
            + "\n");
    }
    out
}
