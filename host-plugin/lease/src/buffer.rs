//! Memory that direct I/O accepts: it must begin at a multiple of the storage's block size.

/// The largest block size of storage that Holdfast runs on.
const ALIGNMENT: usize = 4096;

/// Zeroed bytes at an aligned address.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Of that many bytes.
    pub fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self {
            bytes,
            start,
            length,
        }
    }

    /// With these contents.
    pub fn of(contents: &[u8]) -> Self {
        let mut buffer = Self::new(contents.len());
        buffer.bytes_mut().copy_from_slice(contents);
        buffer
    }

    /// They.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }

    /// They, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}
