//! The calls of libvirt that the `virt` crate does not wrap, or wraps wrongly: events, the close
//! callback, abort, and migration with parameters (the crate leaks its strings).
//!
//! One of the package's two files with `unsafe` code; the other is `guard/watchdog/device.rs`.
//! Callbacks run on libvirt's event loop thread and do nothing but push to a channel.
#![allow(unsafe_code)]

use super::{DriverEvent, StopKind};
use holdfast_model::id::VmUuid;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use tokio::sync::mpsc::UnboundedSender;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt_sys as sys;

/// What the callbacks push to.
#[derive(Clone)]
pub struct Sink {
    /// Domain events go here.
    pub events: UnboundedSender<DriverEvent>,
    /// The reason of a closed connection goes here.
    pub closed: UnboundedSender<String>,
}

unsafe extern "C" fn free_sink(opaque: *mut c_void) {
    // SAFETY: `opaque` came out of `Box::into_raw` in `with_sink`, and libvirt calls this once,
    // when it forgets the callback.
    drop(unsafe { Box::from_raw(opaque.cast::<Sink>()) });
}

/// Gives libvirt a sink of its own; takes it back if the registration failed, as libvirt does not
/// free it then.
fn with_sink(sink: &Sink, register: impl FnOnce(*mut c_void) -> c_int) -> Result<(), Error> {
    let opaque = Box::into_raw(Box::new(sink.clone()));
    if register(opaque.cast()) >= 0 {
        return Ok(());
    }
    let error = Error::last_error();
    // SAFETY: libvirt did not keep the pointer, so it is still ours alone.
    drop(unsafe { Box::from_raw(opaque) });
    Err(error)
}

type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
type Lifecycle =
    unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int;
type IoError = unsafe extern "C" fn(
    sys::virConnectPtr,
    sys::virDomainPtr,
    *const c_char,
    *const c_char,
    c_int,
    *const c_char,
    *mut c_void,
);

/// Has domain events sent to `sink`.
pub fn subscribe(connection: &Connect, sink: &Sink) -> Result<(), Error> {
    // SAFETY: libvirt's API takes every callback as the generic type and calls it with the
    // signature that belongs to the event id; these are the signatures of the two ids used below.
    let callbacks: [(sys::virDomainEventID, Generic); 2] = unsafe {
        [
            (
                sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                std::mem::transmute::<Lifecycle, Generic>(on_lifecycle),
            ),
            (
                sys::VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
                std::mem::transmute::<IoError, Generic>(on_io_error),
            ),
        ]
    };
    for (id, callback) in callbacks {
        with_sink(sink, |opaque| {
            // SAFETY: the connection is open for the length of the call; the null domain means
            // "all"; `opaque` is a `Sink` that `free_sink` frees.
            unsafe {
                sys::virConnectDomainEventRegisterAny(
                    connection.as_ptr(),
                    ptr::null_mut(),
                    id as c_int,
                    Some(callback),
                    opaque,
                    Some(free_sink),
                )
            }
        })?;
    }
    Ok(())
}

/// Has the end of the connection sent to `sink`. The test driver does not support it.
pub fn subscribe_close(connection: &Connect, sink: &Sink) -> Result<(), Error> {
    with_sink(sink, |opaque| {
        // SAFETY: as for the events.
        unsafe {
            sys::virConnectRegisterCloseCallback(
                connection.as_ptr(),
                Some(on_close),
                opaque,
                Some(free_sink),
            )
        }
    })
}

/// The UUID of a domain that libvirt lends to a callback.
///
/// # Safety
/// `domain` is a valid domain for the length of the call.
unsafe fn uuid_of(domain: sys::virDomainPtr) -> Option<VmUuid> {
    let mut buffer = [0 as c_char; sys::VIR_UUID_STRING_BUFLEN as usize];
    // SAFETY: the buffer has the length libvirt's header asks for; it ends with a zero on success.
    let text = unsafe {
        if sys::virDomainGetUUIDString(domain, buffer.as_mut_ptr()) != 0 {
            return None;
        }
        CStr::from_ptr(buffer.as_ptr())
    };
    text.to_str().ok()?.parse().ok()
}

unsafe extern "C" fn on_lifecycle(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: `opaque` is the `Sink` given at registration, alive until `free_sink`; the domain is
    // valid for the length of the callback.
    let (sink, uuid) = unsafe { (&*opaque.cast::<Sink>(), uuid_of(domain)) };
    let Some(uuid) = uuid else { return 0 };
    let event = match event as u32 {
        sys::VIR_DOMAIN_EVENT_STOPPED => DriverEvent::Stopped {
            uuid,
            how: stop_kind(detail as u32),
        },
        _ => DriverEvent::Changed { uuid },
    };
    // Nobody listens any more at shutdown.
    let _ = sink.events.send(event);
    0
}

fn stop_kind(detail: sys::virDomainEventStoppedDetailType) -> StopKind {
    match detail {
        sys::VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN => StopKind::Shutdown,
        sys::VIR_DOMAIN_EVENT_STOPPED_DESTROYED => StopKind::Destroyed,
        sys::VIR_DOMAIN_EVENT_STOPPED_CRASHED => StopKind::Crashed,
        sys::VIR_DOMAIN_EVENT_STOPPED_MIGRATED => StopKind::Migrated,
        sys::VIR_DOMAIN_EVENT_STOPPED_SAVED => StopKind::Saved,
        _ => StopKind::Failed,
    }
}

unsafe extern "C" fn on_io_error(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    source: *const c_char,
    _: *const c_char,
    _: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    let text = |pointer: *const c_char| {
        if pointer.is_null() {
            return String::new();
        }
        // SAFETY: libvirt passes zero-ended texts that live as long as the callback.
        let text = unsafe { CStr::from_ptr(pointer) };
        text.to_string_lossy().into_owned()
    };
    // SAFETY: as in `on_lifecycle`.
    let (sink, uuid) = unsafe { (&*opaque.cast::<Sink>(), uuid_of(domain)) };
    if let Some(uuid) = uuid {
        let text = format!("{} {}", text(source), text(reason));
        let text = text.trim().to_owned();
        let _ = sink.events.send(DriverEvent::IoError { uuid, text });
    }
}

unsafe extern "C" fn on_close(_: sys::virConnectPtr, reason: c_int, opaque: *mut c_void) {
    // SAFETY: as in `on_lifecycle`.
    let sink = unsafe { &*opaque.cast::<Sink>() };
    let text = match reason as u32 {
        sys::VIR_CONNECT_CLOSE_REASON_EOF => "libvirtd closed the connection",
        sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE => "libvirtd stopped answering keepalives",
        // Our own closing is no news.
        sys::VIR_CONNECT_CLOSE_REASON_CLIENT => return,
        _ => "the connection to libvirtd broke",
    };
    let _ = sink.closed.send(text.to_owned());
}

/// Aborts the job (a migration) that is under way on a domain.
pub fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the handle is valid as long as `domain` is.
    match unsafe { sys::virDomainAbortJob(domain.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Error::last_error()),
    }
}

/// Migrates peer to peer; blocks until it is over.
pub fn migrate(
    domain: &Domain,
    connect_uri: &str,
    data_uri: &str,
    flags: u32,
) -> Result<(), Error> {
    // A text with a zero inside is refused by libvirt as an invalid URI.
    let connect_uri = CString::new(connect_uri).unwrap_or_default();
    let data_uri = CString::new(data_uri).unwrap_or_default();
    let mut params: sys::virTypedParameterPtr = ptr::null_mut();
    let (mut used, mut room): (c_int, c_int) = (0, 0);
    // SAFETY: libvirt allocates and grows the array itself and copies the texts; it is freed below
    // on every path. All pointers live to the end of the block.
    unsafe {
        let added = sys::virTypedParamsAddString(
            &mut params,
            &mut used,
            &mut room,
            sys::VIR_MIGRATE_PARAM_URI.as_ptr(),
            data_uri.as_ptr(),
        );
        let result = if added < 0 {
            Err(Error::last_error())
        } else {
            match sys::virDomainMigrateToURI3(
                domain.as_ptr(),
                connect_uri.as_ptr(),
                params,
                used as u32,
                flags,
            ) {
                0 => Ok(()),
                _ => Err(Error::last_error()),
            }
        };
        sys::virTypedParamsFree(params, used);
        result
    }
}
