//! Site by site: a new version of an extension reaches those who ask it at one site first.
//!
//! ```text
//! install v2 over v1 ─> first site: v2 │ all others: v1
//!     all that ask it at the first site are ready with v2 ─> v2 everywhere
//!     it cannot run there                                 ─> stays so; whoever installed it decides
//! ```
//! Which version somebody asks is decided from the record and the own site alone. A mixed state is harmless: where VMs
//! go and who is told is decided in the leader only, by the version that it has, and is part of what is written; a
//! device is asked by the version of the manager that asks it, and none of them is believed; of a host's storage only
//! that host's version says something.

use crate::extension::Installed;
use crate::id::SiteName;
use crate::standing::Readiness;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A version that does not stand everywhere yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Who has it already.
    pub first: SiteName,
}

/// Somebody who asks an extension: a manager or a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// "manager m-a", "host b1"
    pub who: String,
    /// Where it stands.
    pub site: SiteName,
    /// How the extension stands there; none if it has not said so.
    pub readiness: Option<Readiness>,
}

/// How far a version is that one site has first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// All that ask it there are ready with it: the others may follow.
    Proven,
    /// For these.
    Waits(Vec<String>),
    /// For somebody who asks it there: nobody who does answers now.
    Nobody,
    /// It cannot be asked by one of them.
    CannotRun {
        /// By whom.
        who: String,
        /// Why, in words.
        why: String,
    },
}

impl Installed {
    /// The version that is asked at a site.
    pub fn at_site(&self, site: &SiteName) -> &Installed {
        match (&self.rollout, self.before.as_deref()) {
            (Some(rollout), Some(before)) if rollout.first != *site => before,
            _ => self,
        }
    }

    /// The same for one site first, if it is another component than the one before and there is more than one site.
    /// `asking`: where it is asked; `leads`: where the leader stands.
    pub fn site_by_site(self, asking: &[Asking], leads: Option<&SiteName>) -> Installed {
        let is_new = self.before.as_deref().is_some_and(|before| {
            before.digest != self.digest && before.manifest.kind == self.manifest.kind
        });
        let rollout = first_site(asking, leads).filter(|_| is_new);
        Self {
            rollout: rollout.map(|first| Rollout { first }),
            ..self
        }
    }

    /// How far it is; none: it is everywhere.
    pub fn stage(&self, asking: &[Asking]) -> Option<Stage> {
        let first = &self.rollout.as_ref()?.first;
        let there = || asking.iter().filter(|each| each.site == *first);
        for Asking { who, readiness, .. } in there() {
            let why = match readiness {
                Some(Readiness::Failed { why, .. }) => why.clone(),
                Some(Readiness::Resting { digest, why }) if *digest == self.digest => {
                    format!("it failed too often: {why}")
                }
                _ => continue,
            };
            let who = who.clone();
            return Some(Stage::CannotRun { who, why });
        }
        let is_ready = |each: &&Asking| {
            let readiness = each.readiness.as_ref();
            readiness.is_some_and(
                |there| matches!(there, Readiness::Ready { digest } if *digest == self.digest),
            )
        };
        let waits: Vec<String> = there()
            .filter(|each| !is_ready(each))
            .map(|each| each.who.clone())
            .collect();
        Some(match (there().count(), waits.is_empty()) {
            (0, _) => Stage::Nobody,
            (_, true) => Stage::Proven,
            (_, false) => Stage::Waits(waits),
        })
    }
}

/// One without the leader, if there is such: what goes wrong there disturbs least. None if all stand at one.
fn first_site(asking: &[Asking], leads: Option<&SiteName>) -> Option<SiteName> {
    let sites: BTreeSet<&SiteName> = asking.iter().map(|each| &each.site).collect();
    if sites.len() < 2 {
        return None;
    }
    let away = sites.iter().find(|site| Some(**site) != leads);
    away.or(sites.first()).map(|site| (*site).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::Fallback;
    use crate::extension::{ExtensionKind, LimitsAsked, Manifest, Rights};
    use crate::time::UnixMs;

    fn site(name: &str) -> SiteName {
        name.parse().expect("a name")
    }

    fn version(version: &str) -> Installed {
        Installed {
            manifest: Manifest {
                name: "rack-spread".parse().expect("a name"),
                version: version.to_owned(),
                kind: ExtensionKind::Placement,
                summary: "Keeps groups apart.".to_owned(),
                limits: LimitsAsked::default(),
                rights: Rights::default(),
            },
            digest: format!("digest of {version}"),
            bytes: 1,
            granted: Rights::default(),
            limits: LimitsAsked::default(),
            then: Fallback::Closed,
            signed: None,
            by: "ada".to_owned(),
            at: UnixMs(1),
            before: None,
            rollout: None,
        }
    }

    fn ready(version: &str) -> Option<Readiness> {
        Some(Readiness::Ready {
            digest: format!("digest of {version}"),
        })
    }

    /// Managers at the sites in these words: `m-a` is at site a.
    fn asking(all: &[(&str, Option<Readiness>)]) -> Vec<Asking> {
        let each = all.iter().map(|(name, readiness)| Asking {
            who: format!("manager {name}"),
            site: site(&name[2..3]),
            readiness: readiness.clone(),
        });
        each.collect()
    }

    /// 2 over 1, with managers at three sites and the leader at a.
    fn second() -> Installed {
        let all = [
            ("m-a", ready("1")),
            ("m-b", ready("1")),
            ("m-w", ready("1")),
        ];
        let second = version("2").over(Some(&version("1")));
        second.site_by_site(&asking(&all), Some(&site("a")))
    }

    #[test]
    fn one_site_without_the_leader_has_it_first() {
        let second = second();
        let first = site("b");
        assert_eq!(second.rollout, Some(Rollout { first }));
        let at = |name: &str| second.at_site(&site(name)).manifest.version.clone();
        assert_eq!(
            (at("a"), at("b"), at("w")),
            ("1".into(), "2".into(), "1".into())
        );
        let all = [("m-a", None), ("m-b", None)];
        let of_nobody = version("2").over(Some(&version("1")));
        let of_nobody = of_nobody.site_by_site(&asking(&all), None);
        let first = site("a");
        assert_eq!(of_nobody.rollout, Some(Rollout { first }), "nobody leads");
    }

    #[test]
    fn nothing_is_put_off_without_a_reason() {
        let all = asking(&[("m-a", None), ("m-b", None)]);
        let leads = site("a");
        let first = version("1").over(None);
        assert_eq!(first.site_by_site(&all, Some(&leads)).rollout, None);
        // The same component with other limits is ready already.
        let mut again = version("1");
        again.limits.cpu_ms = Some(5);
        let again = again.over(Some(&version("1")));
        assert_eq!(again.site_by_site(&all, Some(&leads)).rollout, None);
        let second = version("2").over(Some(&version("1")));
        let at_one = second.clone().site_by_site(&all[..1], Some(&leads));
        assert_eq!(at_one.rollout, None, "all stand at one site");
        let mut other = version("1");
        other.manifest.kind = ExtensionKind::StorageCheck;
        let other = version("2").over(Some(&other));
        assert_eq!(other.site_by_site(&all, Some(&leads)).rollout, None);
        assert_eq!(second.stage(&all), None, "it is everywhere");
    }

    #[test]
    fn the_rest_follows_when_all_at_the_first_site_are_ready() {
        let stage = |all: &[(&str, Option<Readiness>)]| second().stage(&asking(all));
        let waits = |who: &str| Some(Stage::Waits(vec![who.to_owned()]));
        let rest = ("m-a", ready("1"));
        let all = [rest.clone(), ("m-b", ready("1")), ("m-b2", ready("2"))];
        assert_eq!(stage(&all), waits("manager m-b"), "it asks the one before");
        for readiness in [None, Some(Readiness::Loading)] {
            let all = [rest.clone(), ("m-b", readiness)];
            assert_eq!(stage(&all), waits("manager m-b"));
        }
        let all = [rest.clone(), ("m-b", ready("2")), ("m-b2", ready("2"))];
        assert_eq!(stage(&all), Some(Stage::Proven));
        let nobody = Some(Stage::Nobody);
        assert_eq!(stage(&[rest]), nobody, "nobody there has shown it");
    }

    #[test]
    fn one_that_cannot_run_there_stays_there() {
        let failed = Readiness::Failed {
            why: "no memory".to_owned(),
            before: Some("digest of 1".to_owned()),
        };
        let rests = |digest: &str| Readiness::Resting {
            digest: digest.to_owned(),
            why: "it trapped".to_owned(),
        };
        let stage = |there: Readiness| {
            let all = [("m-b", ready("2")), ("m-b2", Some(there))];
            second().stage(&asking(&all))
        };
        let cannot = |why: &str| {
            Some(Stage::CannotRun {
                who: "manager m-b2".to_owned(),
                why: why.to_owned(),
            })
        };
        assert_eq!(stage(failed), cannot("no memory"));
        let words = "it failed too often: it trapped";
        assert_eq!(stage(rests("digest of 2")), cannot(words));
        let waits = Some(Stage::Waits(vec!["manager m-b2".to_owned()]));
        assert_eq!(stage(rests("digest of 1")), waits, "that is the one before");
    }

    #[test]
    fn what_never_got_beyond_its_first_site_is_none_to_go_back_to() {
        let second = second();
        let third = version("3").over(Some(&second));
        assert!(
            third
                .before
                .as_deref()
                .is_some_and(|before| before.is_same(&version("1")))
        );
        let back = second.back("bob", UnixMs(9)).expect("there is one before");
        assert!(back.is_same(&version("1")) && back.rollout.is_none());
        let again = back.back("bob", UnixMs(9)).expect("there is one before");
        assert!(again.is_same(&second) && again.rollout.is_none());
    }
}
