//! What becomes of one frame.

use std::fmt::{self, Debug, Display, Formatter};

use lb_common::{Action, DecapVerdict, Verdict};

/// The answer of an XDP program, as in the kernel's `enum xdp_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpAction {
    /// What no program of ours ever answers: the kernel counts it as a bug.
    Aborted,
    /// `XDP_DROP`.
    Drop,
    /// `XDP_PASS`.
    Pass,
    /// `XDP_TX`.
    Transmit,
    /// `XDP_REDIRECT`.
    Redirect,
    /// A number that XDP does not know.
    Unknown(u32),
}

impl From<u32> for XdpAction {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Aborted,
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Transmit,
            4 => Self::Redirect,
            other => Self::Unknown(other),
        }
    }
}

impl From<Action> for XdpAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Pass => Self::Pass,
            Action::Transmit => Self::Transmit,
            Action::Redirect => Self::Redirect,
            Action::Drop => Self::Drop,
        }
    }
}

/// The verdicts of a program, and the map in which it counts them.
pub trait Verdicts: Copy + Debug + PartialEq + 'static {
    /// The program that has these verdicts.
    const PROGRAM: &'static str;
    /// The map that counts them, each at its place in [`Verdicts::all`].
    const MAP: &'static str;

    /// Every verdict.
    fn all() -> &'static [Self];
    /// What XDP is told.
    fn action(self) -> Action;
    /// The verdict's place among all.
    fn number(self) -> u32;
}

impl Verdicts for Verdict {
    const PROGRAM: &'static str = "balancer";
    const MAP: &'static str = "VERDICTS";

    fn all() -> &'static [Self] {
        Self::ALL
    }

    fn action(self) -> Action {
        self.action()
    }

    fn number(self) -> u32 {
        self as u32
    }
}

impl Verdicts for DecapVerdict {
    const PROGRAM: &'static str = "decap";
    const MAP: &'static str = "DECAP_VERDICTS";

    fn all() -> &'static [Self] {
        Self::ALL
    }

    fn action(self) -> Action {
        self.action()
    }

    fn number(self) -> u32 {
        self as u32
    }
}

/// What a program answered to one frame, and what it left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<V> {
    /// The program's answer.
    pub action: XdpAction,
    /// The verdict that it counted.
    pub verdict: V,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
}

impl<V: Verdicts> Outcome<V> {
    /// The outcome that a verdict promises, with this frame afterwards.
    #[must_use]
    pub fn of(verdict: V, bytes: Vec<u8>) -> Self {
        Self { action: verdict.action().into(), verdict, bytes }
    }
}

impl<V: Debug> Display for Outcome<V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, {:?}, {} bytes: {}",
            self.action,
            self.verdict,
            self.bytes.len(),
            hex(&self.bytes)
        )
    }
}

/// The outcomes of one frame in the kernel and on the host, which must be the same.
#[derive(Clone, Debug)]
pub struct Pair<V> {
    /// What the BPF program did.
    pub kernel: Outcome<V>,
    /// What the same source did on the host.
    pub host: Outcome<V>,
}

impl<V: Verdicts> Pair<V> {
    /// Whether both did the same, and the kernel did not abort.
    #[must_use]
    pub fn is_agreement(&self) -> bool {
        self.kernel == self.host && self.kernel.action != XdpAction::Aborted
    }

    /// The outcome that both agree on.
    ///
    /// # Panics
    /// If they differ, or if the program was aborted.
    #[must_use]
    #[track_caller]
    pub fn agreed(self, input: &[u8]) -> Outcome<V> {
        assert!(
            self.is_agreement(),
            "kernel and host differ\ninput  {}\nkernel {}\nhost   {}",
            hex(input),
            self.kernel,
            self.host
        );
        self.kernel
    }
}

/// Bytes as people compare them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| format!("{byte:02x}");
    bytes.iter().map(digits).collect()
}
