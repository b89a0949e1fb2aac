//! A backend whose answers are late: through a device that keeps packets for a while.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lb_tests::Host;

const DEVICE: &str = "late0";

/// Delays packets until it is dropped.
pub(super) struct Delay {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Delay {
    /// What a host sends from this TCP port leaves it so much later.
    pub(super) fn of_answers(host: &Host, port: u16, late: Duration) -> Self {
        let device = host.enter(open_device);
        host.ip(&format!(
            "link set {DEVICE} up\n\
             route add default dev {DEVICE} table 100\n\
             rule add pref 10 iif {DEVICE} lookup main\n\
             rule add pref 20 ipproto tcp sport {port} lookup 100\n"
        ))
        .unwrap();
        // What comes out of the device is the host's own, and is sent on.
        host.sysctl(&format!("ipv4/conf/{DEVICE}/accept_local"), "1").unwrap();
        host.sysctl("ipv4/ip_forward", "1").unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let thread = thread::spawn(move || carry(device, late, &told));
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it has panicked, the test has failed already.
            let _ = thread.join();
        }
    }
}

/// A device for IP packets in the network of the thread, which goes with the file.
fn open_device() -> File {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(DEVICE.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives until the call returns.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    file
}

/// Takes packets out of the device and puts them back when they are due.
fn carry(mut device: File, late: Duration, is_over: &AtomicBool) {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut space = [0; 2048];
    while !is_over.load(Ordering::Relaxed) {
        if is_readable(&device) {
            let length = device.read(&mut space).unwrap();
            waiting.push_back((Instant::now() + late, space[..length].to_vec()));
        }
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let (_, packet) = waiting.pop_front().expect("there is a first one");
            device.write_all(&packet).unwrap();
        }
    }
}

/// Whether a packet is there, for a moment at most.
fn is_readable(device: &File) -> bool {
    const MOMENT_MS: i32 = 5;
    let mut poll = libc::pollfd { fd: device.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd is there, for the time of the call.
    unsafe { libc::poll(&raw mut poll, 1, MOMENT_MS) == 1 }
}
