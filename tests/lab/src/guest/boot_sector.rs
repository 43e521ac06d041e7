//! The smallest guest there is: one disk sector that beats on the serial line.
//!
//! A key on its keyboard (`virsh send-key`) is its command to shut itself down.
//!
//! It sends `H` once when it boots and from then on one byte per timer tick, 20 a second. That
//! byte is drawn from the time-stamp counter at boot, 0x80 to 0xff: a life has a mark of its own,
//! which a live migration carries along and a restart changes, even where the `H` is lost.

/// Sent once at boot.
pub const BOOT_BYTE: u8 = b'H';
/// Time between two beats.
pub const BEAT_MS: u64 = 50;
/// Size of the disk image: one sector would do, some tools want a little more.
pub const IMAGE_BYTES: usize = 64 * 1024;

/// Divider of the 1.193182 MHz timer for [`BEAT_MS`].
const DIVIDER: u16 = (1_193_182 * BEAT_MS / 1000) as u16;

/// The port where SeaBIOS puts ACPI's power management control of machine `pc`.
const PM1_CONTROL: u16 = 0x604;
/// Written there: sleep, and that of type 0, which is off (S5) on that machine.
const POWER_OFF: u16 = 1 << 13;

/// The 512 bytes.
pub fn sector() -> [u8; 512] {
    let [low, high] = DIVIDER.to_le_bytes();
    let [low_pm, high_pm] = PM1_CONTROL.to_le_bytes();
    let [low_s5, high_s5] = POWER_OFF.to_le_bytes();
    #[rustfmt::skip]
    let code = [
        0x31, 0xc0,             // xor  ax, ax
        0x8e, 0xd8,             // mov  ds, ax
        0x8e, 0xd0,             // mov  ss, ax
        0xbc, 0x00, 0x7c,       // mov  sp, 0x7c00
        0x0f, 0x31,             // rdtsc              (changes dx: before the port is set)
        0x0c, 0x80,             // or   al, 0x80
        0x88, 0xc3,             // mov  bl, al        the mark of this life
        0xba, 0xf8, 0x03,       // mov  dx, 0x3f8     COM1
        0xb0, BOOT_BYTE,        // mov  al, 'H'
        0xee,                   // out  dx, al
        0xb0, 0x34,             // mov  al, 0x34      timer 0, rate generator
        0xe6, 0x43,             // out  0x43, al
        0xb0, low,              // mov  al, low
        0xe6, 0x40,             // out  0x40, al
        0xb0, high,             // mov  al, high
        0xe6, 0x40,             // out  0x40, al
        0xfb,                   // sti
        0xf4,                   // hlt                until the BIOS has handled a tick
        0x88, 0xd8,             // mov  al, bl
        0xee,                   // out  dx, al
        0xa1, 0x1a, 0x04,       // mov  ax, [0x41a]    the BIOS's keys: the next to be read…
        0x3b, 0x06, 0x1c, 0x04, // cmp  ax, [0x41c]    …and the next to be written
        0x74, 0xf3,             // je   hlt            none was typed
        0xba, low_pm, high_pm,  // mov  dx, PM1_CONTROL
        0xb8, low_s5, high_s5,  // mov  ax, POWER_OFF
        0xef,                   // out  dx, ax
        0xf4,                   // hlt                 it is off by now
        0xeb, 0xfd,             // jmp  hlt
    ];
    let mut sector = [0; 512];
    sector[..code.len()].copy_from_slice(&code);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A raw disk image that boots it.
pub fn image() -> Vec<u8> {
    let mut image = sector().to_vec();
    image.resize(IMAGE_BYTES, 0);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bios_boots_it() {
        let sector = sector();
        assert_eq!(sector[510..], [0x55, 0xaa]);
        // The loop jumps back to its `hlt`, and what comes after the power-off to its own.
        let hlts = sector.iter().enumerate().filter(|(_, byte)| **byte == 0xf4);
        let hlts: Vec<usize> = hlts.map(|(at, _)| at).collect();
        let jumps = [[0x74, 0xf3], [0xeb, 0xfd]].map(|jump| {
            let at = sector.windows(2).position(|pair| pair == jump).unwrap();
            (at + 2).wrapping_add_signed(isize::from(jump[1] as i8))
        });
        assert_eq!(hlts, jumps);
        assert_eq!(image().len() % 512, 0);
    }

    #[test]
    fn twenty_beats_a_second() {
        assert!((1_193_182 / u32::from(DIVIDER)).abs_diff(20) <= 1);
    }
}
