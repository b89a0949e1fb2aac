//! The beginning of what somebody says, who may say anything, and without end.

/// So many bytes are kept.
const KEPT: usize = 4096;

/// The beginning of what somebody says.
#[derive(Debug, Default)]
pub(crate) struct Heard(Vec<u8>);

impl Heard {
    /// Keeps what there is room for.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let room = KEPT - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Whether nothing more is kept.
    pub(crate) const fn is_full(&self) -> bool {
        self.0.len() == KEPT
    }

    /// The first line that says something.
    pub(crate) fn first_line(&self) -> Option<&[u8]> {
        let mut lines = self.0.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.find(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_line_that_says_something() {
        for (said, expected) in [
            (&b""[..], None),
            (b"\n \r\n\t", None),
            (b"\n  full \r\nmore", Some(&b"full"[..])),
            (b"without an end", Some(b"without an end")),
        ] {
            let mut heard = Heard::default();
            heard.add(said);
            assert_eq!(heard.first_line(), expected, "{said:?}");
        }
    }

    #[test]
    fn keeps_the_beginning_alone() {
        let mut heard = Heard::default();
        heard.add(&[b'a'; KEPT - 1]);
        assert!(!heard.is_full());
        heard.add(b"bc");
        heard.add(b"d");
        assert!(heard.is_full());
        let line = heard.first_line().expect("a line");
        assert_eq!((line.len(), line.last()), (KEPT, Some(&b'b')));
    }
}
