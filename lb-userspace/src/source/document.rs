//! Files that list backends: TOML and JSON.

use std::path::Path;

use serde::Deserialize;

use super::{Snapshot, SourceError, error::shown, snapshot::Draft};
use crate::model::BackendRule;

/// Reads the content of a file; its ending tells the format.
///
/// The list itself must be there, even if it is empty. A file of no bytes is what a write leaves
/// behind that was cut off, and must not read as "no backends".
pub(super) fn parse(
    path: &Path,
    content: &[u8],
    rule: BackendRule,
) -> Result<Snapshot, SourceError> {
    let malformed = |problem: &str| SourceError::Malformed {
        place: path.display().to_string(),
        problem: shown(problem.trim_end().replace('\n', " ").as_bytes()),
    };
    let text = std::str::from_utf8(content).map_err(|error| malformed(&error.to_string()))?;
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let entries = if is_json {
        let document = serde_json::from_str::<Json>(text);
        document.map_err(|error| malformed(&error.to_string()))?.backends
    } else {
        let document = toml::from_str::<Toml>(text);
        document.map_err(|error| malformed(&placed(text, &error)))?.backend
    };
    let mut draft = Draft::new(rule);
    for entry in entries {
        draft.add(&entry.address, entry.weight, entry.priority)?;
    }
    Ok(draft.finish())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    backends: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Toml {
    backend: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: String,
    weight: Option<i64>,
    priority: Option<i64>,
}

fn placed(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else {
        return error.message().to_owned();
    };
    let before = &text.as_bytes()[..span.start.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("line {line}: {}", error.message())
}

#[cfg(test)]
mod tests {
    use lb_common::Forward;
    use proptest::prelude::*;

    use super::*;

    const JSON: &[u8] =
        br#"{"backends":[{"address":"10.0.1.11"},{"address":"10.0.1.12","weight":5}]}"#;

    fn read(name: &str, content: &[u8]) -> Result<Vec<String>, String> {
        let vip = "10.200.0.1".parse().expect("address");
        let rule = BackendRule { vip, forward: Forward::L2 };
        let snapshot = parse(Path::new(name), content, rule).map_err(|error| error.to_string())?;
        let shown = snapshot.backends.iter().map(|b| format!("{} {}", b.address, b.weight));
        Ok(shown.collect())
    }

    #[test]
    fn reads_both_formats() {
        let expected = Ok(vec!["10.0.1.11 100".to_owned(), "10.0.1.12 5".to_owned()]);
        let toml = b"[[backend]]\naddress = \"10.0.1.12\"\nweight = 5\n\
                     [[backend]]\naddress = \"10.0.1.11\"\n";
        assert_eq!(read("/x/web.toml", toml), expected);
        assert_eq!(read("/x/web", toml), expected);
        assert_eq!(read("/x/web.JSON", JSON), expected);
    }

    #[test]
    fn an_empty_list_is_an_answer_and_an_empty_file_is_not() {
        assert_eq!(read("a.toml", b"backend = []"), Ok(vec![]));
        assert_eq!(read("a.json", b"{\"backends\":[]}"), Ok(vec![]));
        for (name, content) in [("a.toml", &b""[..]), ("a.toml", b"# none\n"), ("a.json", b"")] {
            read(name, content).expect_err("no list");
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (name, content, expected) in [
            (
                "a.toml",
                &b"[[backend]]\naddress = \"10.0.1.1\"\nwieght = 1\n"[..],
                "line 3: unknown",
            ),
            ("a.toml", b"[[backend]]\naddress = \"10.0.1", "a.toml is not understood: line 2"),
            ("a.toml", b"\xff\xfe", "invalid utf-8"),
            (
                "a.json",
                b"{\"backends\":[{\"address\":\"10.0.1.1\"}",
                "a.json is not understood: EOF",
            ),
            ("a.json", b"{\"backends\":[],\"more\":1}", "unknown field"),
            (
                "a.json",
                b"{\"backends\":[{\"address\":\"10.0.1.1\",\"weight\":1.5}]}",
                "invalid type",
            ),
            (
                "a.toml",
                b"[[backend]]\naddress = \"10.0.1.1\"\npriority = 256\n",
                "the priority 256",
            ),
            ("a.json", b"{\"backends\":[{\"address\":\"10.0.\\u00001\"}]}", "entry `10.0.\\01`"),
            ("a.json", b"{\"backends\":[{\"address\":\"10.200.0.1\"}]}", "entry `10.200.0.1`"),
        ] {
            let error = read(name, content).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        /// In TOML a cut between two entries cannot be told from the end: the file source waits.
        #[test]
        fn no_half_of_a_json_file_is_an_answer(cut in 0..JSON.len()) {
            prop_assert!(read("a.json", &JSON[..cut]).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read("a.json", &content);
            let _ = read("a.toml", &content);
        }
    }
}
