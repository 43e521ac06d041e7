//! Natively, with what GlusterFS 10 says.

use super::*;
use holdfast_extension::storage_check::Setting;

const HEALTHY: &str = "Brick a-ctl:/bricks/v\nStatus: Connected\nTotal Number of entries: 0\n\
    Number of entries in heal pending: 0\nNumber of entries in split-brain: 0\n\
    Number of entries possibly healing: 0\n\nBrick b-ctl:/bricks/v\nStatus: Connected\n\
    Total Number of entries: 0\nNumber of entries in heal pending: 0\n";
const CONNECTED: &str = "/srv/.meta/graphs/active/v-client-0/private:connected = 1\n\
    /srv/.meta/graphs/active/v-client-1/private:connected = 1\n";

struct Mock {
    usage: Result<Space, Error>,
    read_us: Result<u64, Error>,
    heal: Result<Output, Error>,
    client: Result<Output, Error>,
}

impl Look for Mock {
    fn usage(&self) -> Result<Space, Error> {
        self.usage.clone()
    }

    fn read_latency(&self) -> Result<u64, Error> {
        self.read_us.clone()
    }

    fn command(&self, name: &str) -> Result<Output, Error> {
        match name {
            "heal" => self.heal.clone(),
            "client" => self.client.clone(),
            other => Err(Error::NoName(other.to_owned())),
        }
    }
}

fn ended(code: i32, stdout: &str) -> Result<Output, Error> {
    Ok(Output {
        exit_code: Some(code),
        stdout: stdout.to_owned(),
        stderr: String::new(),
        cut: false,
    })
}

fn healthy() -> Mock {
    Mock {
        usage: Ok(Space {
            total_bytes: 1 << 40,
            free_bytes: 1 << 39,
            read_only: false,
            kind: "fuse.glusterfs".to_owned(),
        }),
        read_us: Ok(900),
        heal: ended(0, HEALTHY),
        client: ended(0, CONNECTED),
    }
}

fn domain(settings: &[(&str, &str)]) -> Domain {
    let settings = settings.iter().map(|(name, value)| Setting {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    });
    Domain {
        name: "storage".to_owned(),
        path: "/srv/holdfast".to_owned(),
        settings: settings.collect(),
    }
}

fn found(mock: &Mock) -> [String; 3] {
    let Findings {
        reachable,
        usable,
        synced,
    } = check(&domain(&[]), mock);
    [reachable, usable, synced].map(|answer| match answer {
        Answer::Yes => "yes".to_owned(),
        Answer::No(why) => format!("no: {why}"),
        Answer::Unknown(why) => format!("unknown: {why}"),
    })
}

#[test]
fn a_healthy_volume_is_good_in_all_three() {
    assert_eq!(found(&healthy()), ["yes", "yes", "yes"]);
    let mut alone = healthy();
    alone.client = Err(Error::NoName("client".to_owned()));
    assert_eq!(
        found(&alone),
        ["yes", "yes", "yes"],
        "the client's word is optional"
    );
}

#[test]
fn what_is_missing_or_behind_is_named() {
    let mut mock = healthy();
    let away = "Transport endpoint is not connected";
    mock.heal = ended(0, &HEALTHY.replacen("Connected", away, 1));
    assert_eq!(found(&mock)[2], "no: a-ctl:/bricks/v is not connected");
    mock.heal = ended(0, &HEALTHY.replacen("entries: 0", "entries: 12", 1));
    assert_eq!(found(&mock)[2], "no: a-ctl:/bricks/v: 12 entries to heal");
    mock = healthy();
    mock.client = ended(0, &CONNECTED.replacen("= 1", "= 0", 1));
    assert_eq!(
        found(&mock)[2],
        "no: this host has no connection to v-client-0"
    );
}

#[test]
fn what_is_not_said_is_not_known() {
    for heal in [
        Err(Error::TimedOut("it hangs".to_owned())),
        Err(Error::NoName("heal".to_owned())),
        ended(1, "Volume v does not exist"),
        ended(0, ""),
        ended(0, "Brick a-ctl:/bricks/v\nStatus: Connected\n"),
        ended(0, &HEALTHY.replacen("entries: 0", "entries: -", 1)),
        Ok(Output {
            cut: true,
            ..ended(0, HEALTHY).expect("a good one")
        }),
        Ok(Output {
            exit_code: None,
            ..ended(0, HEALTHY).expect("a good one")
        }),
    ] {
        let mut mock = healthy();
        mock.heal = heal.clone();
        let [reachable, usable, synced] = found(&mock);
        assert_eq!((reachable.as_str(), usable.as_str()), ("yes", "yes"));
        assert!(synced.starts_with("unknown: "), "{heal:?}: {synced}");
    }
    for client in [
        Err(Error::TimedOut("it hangs".to_owned())),
        ended(2, "no such file"),
        ended(0, ""),
        ended(0, "/x/v-client-0/private:connected = maybe"),
    ] {
        let mut mock = healthy();
        mock.client = client.clone();
        assert!(found(&mock)[2].starts_with("unknown: "), "{client:?}");
    }
}

#[test]
fn only_what_was_tried_and_failed_is_a_reason_to_leave() {
    let failed = || Error::Failed("Transport endpoint is not connected".to_owned());
    let mut mock = healthy();
    mock.usage = Err(failed());
    let [reachable, usable, synced] = found(&mock);
    assert!(reachable.starts_with("no: ") && usable.starts_with("no: "));
    assert_eq!(synced, "yes", "the bricks are well all the same");
    mock.usage = Err(Error::TimedOut("nothing within 10 s".to_owned()));
    let [reachable, usable, _] = found(&mock);
    assert!(reachable.starts_with("unknown: ") && usable.starts_with("unknown: "));
    mock = healthy();
    mock.read_us = Err(failed());
    assert!(found(&mock)[1].starts_with("no: "));
    mock.read_us = Err(Error::TimedOut("nothing within 10 s".to_owned()));
    assert!(found(&mock)[1].starts_with("unknown: "));
    mock.read_us = Ok(2_500_000);
    assert_eq!(found(&mock)[1], "no: a read took 2500 ms, more than 2000");
}

#[test]
fn what_is_mounted_there_has_to_be_the_volume_and_to_take_writes() {
    let with = |change: fn(&mut Space)| {
        let mut mock = healthy();
        change(mock.usage.as_mut().expect("a good one"));
        found(&mock)
    };
    let [reachable, usable, _] = with(|space| space.kind = "ext4".to_owned());
    assert_eq!(
        reachable,
        "no: /srv/holdfast is on ext4, not on fuse.glusterfs: the volume is not mounted"
    );
    assert_eq!(usable, reachable);
    assert_eq!(
        with(|space| space.read_only = true)[1],
        "no: it is read-only"
    );
    assert_eq!(
        with(|space| space.free_bytes = 0)[1],
        "no: the file system is full"
    );
    let mut mock = healthy();
    mock.usage.as_mut().expect("a good one").kind = "nfs4".to_owned();
    let any = check(&domain(&[("file_system", "any")]), &mock);
    assert!(matches!(any.usable, Answer::Yes));
    let odd = check(&domain(&[("max_read_ms", "soon")]), &healthy());
    assert!(
        matches!(odd.reachable, Answer::Unknown(_)) && matches!(odd.usable, Answer::Unknown(_))
    );
}
