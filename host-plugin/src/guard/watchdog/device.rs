//! A watchdog as the kernel shows it: a character device, three ioctls, and writes.
//!
//! ```text
//! open ───────────── the device begins to count; one that counts already goes on
//! a byte written ─── it begins anew
//! 'V' written, then closed ─── it stops, unless its driver was loaded with `nowayout`
//! closed ─────────── it begins anew ONCE MORE, goes on, and resets the host
//! ```
//! The numbers are those of `<linux/watchdog.h>`. This is one of the package's two files with
//! `unsafe` code: the ioctls have no safe wrapper anywhere.
#![allow(unsafe_code)]

use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};
use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const SUPPORT: Opcode = opcode::read::<Info>(b'W', 0);
const SET_TIMEOUT: Opcode = opcode::read_write::<c_int>(b'W', 6);
const GET_TIMEOUT: Opcode = opcode::read::<c_int>(b'W', 7);

/// `WDIOF_MAGICCLOSE`: it goes on when it is closed without a `V`.
const MAGIC_CLOSE: u32 = 0x0100;
/// `WDIOF_ALARMONLY`: it raises an alarm and resets nothing.
const ALARM_ONLY: u32 = 0x0400;

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// What it is, in its driver's words.
    pub identity: String,
    /// It goes on counting when it is closed without the magic `V`.
    pub survives_close: bool,
    /// It raises an alarm and resets nothing.
    pub alarm_only: bool,
}

/// A watchdog device that is open, and so counts.
pub trait Device: Send {
    /// What it says of itself.
    fn support(&self) -> io::Result<Support>;

    /// Asks for a time-out, in seconds. The device may round it, or refuse; see [`Self::timeout_s`].
    fn set_timeout(&mut self, timeout_s: u32) -> io::Result<()>;

    /// The time-out that it has, in seconds.
    fn timeout_s(&self) -> io::Result<u32>;

    /// It begins to count anew.
    fn pet(&mut self) -> io::Result<()>;

    /// Stops it, and closes it.
    fn magic_close(self: Box<Self>) -> io::Result<()>;
}

/// One of the kernel's.
///
/// Closing it in any other way than by [`Device::magic_close`] leaves it counting: what drops this
/// is a guard that dies, and then the host must not go on.
#[derive(Debug)]
pub struct Hardware {
    file: File,
    path: PathBuf,
}

/// `struct watchdog_info`.
#[repr(C)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

impl Hardware {
    /// Opens a device, which starts it.
    ///
    /// # Errors
    /// The system's: `ENOENT` and `ENODEV` if there is none, `EBUSY` if somebody else has it.
    pub fn open(path: &Path) -> io::Result<Box<dyn Device>> {
        let file = OpenOptions::new().write(true).open(path)?;
        let path = path.to_owned();
        Ok(Box::new(Self { file, path }))
    }

    /// Its driver was loaded so that nothing stops it; the kernel says so for its numbered devices.
    fn has_no_way_out(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let name = match name.as_ref() {
            // The older name of the first one.
            "watchdog" => "watchdog0",
            other => other,
        };
        let file = Path::new("/sys/class/watchdog").join(name).join("nowayout");
        std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
    }
}

impl Device for Hardware {
    fn support(&self) -> io::Result<Support> {
        // SAFETY: WDIOC_GETSUPPORT writes a `struct watchdog_info`, whose layout `Info` has and for
        // which every pattern of bits is a value. Other devices do not know the number and refuse.
        let info = unsafe { ioctl(&self.file, Getter::<SUPPORT, Info>::new()) }?;
        let end = info.identity.iter().position(|byte| *byte == 0);
        let identity = &info.identity[..end.unwrap_or(info.identity.len())];
        Ok(Support {
            identity: String::from_utf8_lossy(identity).trim().to_owned(),
            survives_close: info.options & MAGIC_CLOSE != 0 || self.has_no_way_out(),
            alarm_only: info.options & ALARM_ONLY != 0,
        })
    }

    fn set_timeout(&mut self, timeout_s: u32) -> io::Result<()> {
        let mut value = c_int::try_from(timeout_s).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: WDIOC_SETTIMEOUT reads and writes one int, which is there for the whole call.
        unsafe { ioctl(&self.file, Updater::<SET_TIMEOUT, c_int>::new(&mut value)) }?;
        Ok(())
    }

    fn timeout_s(&self) -> io::Result<u32> {
        // SAFETY: WDIOC_GETTIMEOUT writes one int.
        let value = unsafe { ioctl(&self.file, Getter::<GET_TIMEOUT, c_int>::new()) }?;
        u32::try_from(value).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn pet(&mut self) -> io::Result<()> {
        // Every driver takes any byte but `V` for it; the ioctl that pets is not known to all.
        self.file.write_all(b"\0")
    }

    fn magic_close(mut self: Box<Self>) -> io::Result<()> {
        self.file.write_all(b"V")
    }
}
