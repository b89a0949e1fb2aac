//! What people need to look into a packet on which kernel and host differ.

use std::{
    fmt::{Debug, Display},
    path::Path,
};

use super::{
    outcome::{Pair, hex},
    pcap,
};

/// Where in a run a packet was.
pub struct Place<'a> {
    /// The name of the test.
    pub test: &'static str,
    /// The seed that draws the configuration and its packets again.
    pub seed: u64,
    /// The packet's number under that seed.
    pub number: u64,
    /// The tables.
    pub configuration: &'a dyn Display,
}

/// Writes the frames into a capture in `folder` (the input, then what kernel and host made of it)
/// and says everything that is known.
pub fn report<V: Debug>(
    folder: &Path,
    place: &Place<'_>,
    input: &[u8],
    pair: &Pair<V>,
    what: &str,
) -> String {
    let Place { test, seed, number, configuration } = place;
    let capture = folder.join(format!("{test}-{seed}-{number}.pcap"));
    let written = match pcap::write(&capture, &[input, &pair.kernel.bytes, &pair.host.bytes]) {
        Ok(()) => capture.display().to_string(),
        Err(error) => format!("not written: {error}"),
    };
    let packets = number + 1;
    format!(
        "{what}\n\
         seed    {seed}, packet {number}\n\
         again   LB_TEST_SEED={seed} LB_TEST_PACKETS={packets} cargo test -p lb-tests --test {test}\n\
         capture {written}\n\
         tables\n{configuration}\n\
         input   {} bytes: {}\n\
         kernel  {}\n\
         host    {}",
        input.len(),
        hex(input),
        pair.kernel,
        pair.host
    )
}
