//! Frames in a file for tcpdump and Wireshark.

use std::{fs, io, path::Path};

/// Writes frames in the classic format of libpcap, one microsecond apart.
pub fn write(path: &Path, frames: &[&[u8]]) -> io::Result<()> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const VERSION_2_4: u32 = 2 | 4 << 16;
    const LONGEST: u32 = 0x4_0000;
    const ETHERNET: u32 = 1;

    let header = [MAGIC, VERSION_2_4, 0, 0, LONGEST, ETHERNET];
    let mut file = header.map(u32::to_ne_bytes).as_flattened().to_vec();
    for (microsecond, frame) in (0..).zip(frames) {
        let length = frame.len() as u32;
        file.extend([0, microsecond, length, length].map(u32::to_ne_bytes).as_flattened());
        file.extend_from_slice(frame);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, file)
}
