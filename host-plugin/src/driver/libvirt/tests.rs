//! Against libvirt's own test driver: real library, real events, no hypervisor.

use super::*;
use crate::domain_xml::prepare;
use crate::domain_xml::stamp::{NAMESPACE, PREFIX};
use crate::driver::{Activity, StopKind};
use holdfast_model::id::Generation;
use std::io::Write;
use tempfile::NamedTempFile;

const WAIT: Duration = Duration::from_secs(30);
const UUID: &str = "11111111-2222-3333-4444-555555555555";

fn stamp(generation: u64) -> Stamp {
    Stamp {
        cluster: "c1".parse().expect("a name"),
        vm: "web-1".parse().expect("a name"),
        generation: Generation(generation),
        incarnation: "i-1".parse().expect("a name"),
        phase: Phase::Created,
    }
}

fn reference(generation: u64) -> DomainRef {
    DomainRef {
        uuid: UUID.parse().expect("a UUID"),
        vm: "web-1".parse().expect("a name"),
        generation: Generation(generation),
    }
}

fn domain_xml(name: &str, uuid: &str) -> String {
    format!(
        "<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory>8192</memory>\
         <os><type>hvm</type></os></domain>"
    )
}

/// A test hypervisor with one unstamped domain that runs, in a state of its own.
async fn driver() -> (LibvirtDriver, Events, NamedTempFile) {
    let mut file = NamedTempFile::new().expect("a temporary file");
    let other = domain_xml("other", "99999999-2222-3333-4444-555555555555");
    write!(file, "<node>{other}</node>").expect("written");
    let config = LibvirtConfig {
        uri: format!("test://{}", file.path().display()),
        cluster: "c1".parse().expect("a name"),
        run_dir: "/nonexistent".into(),
    };
    let (driver, mut events) = LibvirtDriver::start(config).expect("an event loop");
    assert_eq!(next(&mut events).await, DriverEvent::Connected);
    assert_eq!(driver.state(), LibvirtState::Connected);
    (driver, events, file)
}

async fn next(events: &mut Events) -> DriverEvent {
    tokio::time::timeout(WAIT, events.recv())
        .await
        .expect("an event in time")
        .expect("the driver lives")
}

async fn until(events: &mut Events, wanted: impl Fn(&DriverEvent) -> bool) -> DriverEvent {
    loop {
        let event = next(events).await;
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_created_paused_resumed_and_destroyed_and_its_end_is_told() {
    let (driver, mut events, _file) = driver().await;
    assert_eq!(
        driver.list().await,
        Ok(vec![]),
        "the unstamped one is not ours"
    );
    let uuid = UUID.parse().expect("a UUID");
    let xml = prepare(&domain_xml("web", UUID), &uuid, &stamp(3)).expect("XML");
    driver.create_paused(&xml).await.expect("created");
    let seen = driver.list().await.expect("a list");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].stamp, stamp(3));

    for wrong in [2, 4] {
        let error = driver.destroy(&reference(wrong)).await;
        assert!(
            matches!(error, Err(DriverError::NotFound { .. })),
            "{error:?}"
        );
    }
    assert_eq!(activity_now(&driver).await, Activity::PausedOnRequest);
    driver.resume(&reference(3)).await.expect("resumed");
    let seen = driver.list().await.expect("a list");
    assert_eq!(seen[0].activity, Activity::Running);
    assert_eq!(seen[0].stamp.phase, Phase::Started);

    let next_stamp = Stamp {
        phase: Phase::Started,
        ..stamp(4)
    };
    driver
        .restamp(&reference(3), &next_stamp)
        .await
        .expect("restamped");
    assert_eq!(driver.list().await.expect("a list")[0].stamp, next_stamp);

    driver.destroy(&reference(4)).await.expect("destroyed");
    assert_eq!(driver.list().await, Ok(vec![]));
    let stopped = |event: &DriverEvent| matches!(event, DriverEvent::Stopped { .. });
    assert_eq!(
        until(&mut events, stopped).await,
        DriverEvent::Stopped {
            uuid,
            how: StopKind::Destroyed
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_shuts_down_is_told_from_one_that_was_destroyed() {
    let (driver, mut events, _file) = driver().await;
    let uuid = UUID.parse().expect("a UUID");
    let xml = prepare(&domain_xml("web", UUID), &uuid, &stamp(3)).expect("XML");
    driver.create_paused(&xml).await.expect("created");
    driver.resume(&reference(3)).await.expect("resumed");
    driver.shutdown(&reference(3)).await.expect("asked");
    let stopped = |event: &DriverEvent| matches!(event, DriverEvent::Stopped { .. });
    assert_eq!(
        until(&mut events, stopped).await,
        DriverEvent::Stopped {
            uuid,
            how: StopKind::Shutdown
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_domain_whose_stamp_was_removed_stays_ours() {
    let (driver, _events, _file) = driver().await;
    let uuid = UUID.parse().expect("a UUID");
    let xml = prepare(&domain_xml("web", UUID), &uuid, &stamp(3)).expect("XML");
    driver.create_paused(&xml).await.expect("created");
    assert_eq!(driver.list().await.expect("a list").len(), 1);
    remove_stamp(&driver).await;
    let seen = driver.list().await.expect("a list");
    assert_eq!(seen.len(), 1, "it still runs");
    assert_eq!(seen[0].stamp.generation, Generation(3));
    driver.destroy(&reference(3)).await.expect("destroyed");
    driver.create_paused(&xml).await.expect("created again");
    remove_stamp(&driver).await;
    assert_eq!(
        driver.list().await,
        Ok(vec![]),
        "what is remembered is of one life"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_libvirt_refuses_comes_back_in_its_words() {
    let (driver, _events, _file) = driver().await;
    let xml = domain_xml("web", UUID).replace("type='test'", "type='nonsense'");
    let error = driver.create_paused(&xml).await.expect_err("no such type");
    assert!(error.is_settled(), "{error:?}");
    assert!(error.to_string().contains("nonsense"), "{error}");
}

/// Of somebody else's domains libvirt alone knows; ours must not replace one.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_uuid_that_libvirt_has_already_is_refused_and_nothing_changes() {
    let (driver, _events, _file) = driver().await;
    const THEIRS: &str = "99999999-2222-3333-4444-555555555555";
    for (name, uuid) in [("other", UUID), ("web", THEIRS)] {
        let id = uuid.parse().expect("a UUID");
        let xml = prepare(&domain_xml(name, uuid), &id, &stamp(1)).expect("XML");
        let error = driver.create_paused(&xml).await.expect_err("taken");
        assert!(error.is_settled(), "{error:?}");
        for says in ["'other'", THEIRS] {
            assert!(error.to_string().contains(says), "{says}: {error}");
        }
        assert_eq!(driver.list().await, Ok(vec![]), "the other is not ours now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_not_there_is_reported_and_waited_for() {
    let config = LibvirtConfig {
        uri: "qemu+unix:///system?socket=/nonexistent/libvirt-sock".into(),
        cluster: "c1".parse().expect("a name"),
        run_dir: "/nonexistent".into(),
    };
    let (driver, mut events) = LibvirtDriver::start(config).expect("an event loop");
    let lost = |event: &DriverEvent| matches!(event, DriverEvent::Lost { .. });
    until(&mut events, lost).await;
    let LibvirtState::Unreachable { reason } = driver.state() else {
        panic!("it cannot be connected");
    };
    assert!(reason.contains("/nonexistent/libvirt-sock"), "{reason}");
    let error = driver.list().await.expect_err("no connection");
    assert!(
        matches!(error, DriverError::Unreachable { .. }),
        "{error:?}"
    );
}

/// Something listens, accepts nothing and says nothing: what a stopped libvirtd looks like.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stands_still_is_reported_within_its_bound() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let config = LibvirtConfig {
        uri: format!("qemu+unix:///system?socket={}", socket.display()),
        cluster: "c1".parse().expect("a name"),
        run_dir: "/nonexistent".into(),
    };
    let (driver, mut events) = LibvirtDriver::start(config).expect("an event loop");
    let lost = |event: &DriverEvent| matches!(event, DriverEvent::Lost { .. });
    until(&mut events, lost).await;
    let LibvirtState::Unreachable { reason } = driver.state() else {
        panic!("it cannot be connected");
    };
    assert!(reason.contains("does not answer"), "{reason}");
}

async fn activity_now(driver: &LibvirtDriver) -> Activity {
    driver.list().await.expect("a list")[0].activity
}

async fn remove_stamp(driver: &LibvirtDriver) {
    let call = |connection: &Connect| {
        let handle = Handle::lookup_by_uuid_string(connection, UUID)?;
        handle.set_metadata(
            sys::VIR_DOMAIN_METADATA_ELEMENT as i32,
            None,
            Some(PREFIX),
            Some(NAMESPACE),
            sys::VIR_DOMAIN_AFFECT_LIVE,
        )?;
        Ok(())
    };
    driver
        .call(|l| &l.control, "remove", WAIT, call)
        .await
        .expect("removed");
}
