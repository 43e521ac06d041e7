//! The observer process (`xtask lab-observer DIR`, never called by people): outside all machines,
//! it hears every guest beat, whatever is cut, and writes down when.
//!
//! All sources of one VM arrive in one socket, so their order is the kernel's, not this program's.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use rustix::event::{Timespec, epoll};

use super::record::{Decoder, Gatherer, Record};
use super::{FIRST_PORT, PORTS, log_file, ports_file, ready_file};
use crate::clock::{now_ms, unix_ms};
use crate::error::{LabError, Result};
use crate::layout::OBSERVER_ADDRESS;
use crate::state;

const FLUSH_EVERY_MS: u64 = 100;

struct Observer {
    ports_path: PathBuf,
    names: BTreeMap<u16, String>,
    decoders: HashMap<(u16, String), Decoder>,
    gatherer: Gatherer,
    log: File,
    log_path: PathBuf,
}

/// Listens until it is killed; returns only if it cannot.
pub fn run(dir: &Path) -> Result<()> {
    let log_path = log_file(dir);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(LabError::io("open", &log_path))?;
    let mut observer = Observer {
        ports_path: ports_file(dir),
        names: BTreeMap::new(),
        decoders: HashMap::new(),
        gatherer: Gatherer::default(),
        log,
        log_path,
    };
    let failed = |error: rustix::io::Errno| LabError::io("wait for", "datagrams")(error.into());
    let waiter = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
    let mut sockets = Vec::new();
    for number in 0..PORTS {
        let address = (OBSERVER_ADDRESS, FIRST_PORT + number);
        let name = format!("{}:{}", address.0, address.1);
        let socket = UdpSocket::bind(address).map_err(LabError::io("listen on", &name))?;
        socket
            .set_nonblocking(true)
            .map_err(LabError::io("listen on", &name))?;
        let data = epoll::EventData::new_u64(number.into());
        epoll::add(&waiter, &socket, data, epoll::EventFlags::IN).map_err(failed)?;
        sockets.push(socket);
    }
    state::write(&ready_file(dir), "")?;
    let mut flushed_ms = now_ms();
    loop {
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::IN,
            data: epoll::EventData::new_u64(0),
        }; 64];
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: FLUSH_EVERY_MS as i64 * 1_000_000,
        };
        let count = match epoll::wait(&waiter, &mut events[..], Some(&limit)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(failed(error)),
        };
        for event in &events[..count] {
            let number = event.data.u64() as u16;
            if let Some(socket) = sockets.get(usize::from(number)) {
                observer.drain(FIRST_PORT + number, socket)?;
            }
        }
        let now = now_ms();
        if now >= flushed_ms + FLUSH_EVERY_MS {
            flushed_ms = now;
            let due = observer.gatherer.due(now, false);
            observer.write(&due)?;
        }
    }
}

impl Observer {
    fn drain(&mut self, port: u16, socket: &UdpSocket) -> Result<()> {
        let mut buffer = [0u8; 2048];
        // An error of a datagram socket is one datagram lost at most.
        while let Ok((count, source)) = socket.recv_from(&mut buffer) {
            let (now, unix) = (now_ms(), unix_ms());
            let source = source.to_string();
            let vm = self.name(port);
            let decoder = self.decoders.entry((port, source.clone())).or_default();
            let at_once: Vec<Record> = decoder
                .take(&buffer[..count])
                .into_iter()
                .filter_map(|sign| self.gatherer.take(&vm, &source, sign, now, unix))
                .collect();
            self.write(&at_once)?;
        }
        Ok(())
    }

    /// The name of the VM behind a port; the list grows while the lab runs.
    fn name(&mut self, port: u16) -> String {
        if !self.names.contains_key(&port)
            && let Ok(names) = state::read_json(&self.ports_path)
        {
            self.names = names;
        }
        self.names
            .get(&port)
            .cloned()
            .unwrap_or_else(|| format!("port-{port}"))
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        let mut text = String::new();
        for record in records {
            let line = serde_json::to_string(record).map_err(|source| LabError::Parse {
                path: self.log_path.clone(),
                source,
            })?;
            text.push_str(&line);
            text.push('\n');
        }
        self.log
            .write_all(text.as_bytes())
            .map_err(LabError::io("write", &self.log_path))
    }
}
