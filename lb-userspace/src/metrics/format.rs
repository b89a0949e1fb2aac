//! The two text formats that Prometheus reads.

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Classic,
}

impl Format {
    /// The format that an `Accept` header asks for: the classic one, unless it names the other.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let names_open_metrics = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let is_refused = parts.any(|part| part.replace(' ', "").eq_ignore_ascii_case("q=0"));
            kind.eq_ignore_ascii_case("application/openmetrics-text") && !is_refused
        };
        if accept.split(',').any(names_open_metrics) { Self::OpenMetrics } else { Self::Classic }
    }

    /// The header `Content-Type` that goes with it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_open_metrics_to_those_who_ask() {
        for accept in [
            // Prometheus 2.42.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
             version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/html, Application/OpenMetrics-Text",
        ] {
            assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text; q=0",
            "application/openmetrics",
        ] {
            assert_eq!(Format::accepted(accept), Format::Classic, "{accept}");
        }
    }
}
