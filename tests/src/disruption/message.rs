//! What clients ask and servers answer, over TCP and UDP alike.
//!
//! Both have one size, so that pieces of a stream can be told apart. Numbers are big-endian.

/// Bytes of a question.
pub const QUESTION: usize = 16;
/// Bytes of an answer: the question, and the server's name filled up with zeros.
pub const ANSWER: usize = QUESTION + NAME;
const NAME: usize = 16;

/// A numbered message of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The flow, by its number in the client.
    pub flow: u64,
    /// Counts from 0 in each flow.
    pub number: u64,
}

impl Question {
    /// As it is sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; QUESTION] {
        let mut bytes = [0; QUESTION];
        bytes[..8].copy_from_slice(&self.flow.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; QUESTION]) -> Self {
        let [flow, number] = [&bytes[..8], &bytes[8..]]
            .map(|half| u64::from_be_bytes(half.try_into().expect("eight bytes")));
        Self { flow, number }
    }
}

/// What `server` answers to a question. A name of more than 16 bytes is cut.
#[must_use]
pub fn answer(server: &str, question: &[u8; QUESTION]) -> [u8; ANSWER] {
    let mut bytes = [0; ANSWER];
    bytes[..QUESTION].copy_from_slice(question);
    let name = &server.as_bytes()[..server.len().min(NAME)];
    bytes[QUESTION..QUESTION + name.len()].copy_from_slice(name);
    bytes
}

/// The question that is answered, and the server's name; none if this is no answer.
#[must_use]
pub fn read_answer(bytes: &[u8]) -> Option<(Question, &str)> {
    let bytes: &[u8; ANSWER] = bytes.try_into().ok()?;
    let (question, name) = bytes.split_first_chunk::<QUESTION>()?;
    let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
    Some((Question::from_bytes(question), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_question_and_server() {
        let question = Question { flow: 7, number: u64::MAX - 1 };
        let bytes = answer("be12", &question.to_bytes());
        assert_eq!(read_answer(&bytes), Some((question, "be12")));
        assert_eq!(read_answer(&bytes[1..]), None);
    }
}
