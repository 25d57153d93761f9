//! The log on stderr: a server's lines have time and place, those of other commands read as their messages do.

use std::{fmt, io};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Of a command that ends.
    Person,
    /// Of a server.
    Operator,
    /// Of a server whose lines are objects.
    Program,
}

/// Starts it; `verbose` counts the steps above the usual.
pub fn start(reader: Reader, verbose: u8) {
    let usual = u8::from(reader != Reader::Person);
    let level = match verbose + usual {
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    match reader {
        Reader::Person => log.event_format(Plain).init(),
        Reader::Operator => log.init(),
        Reader::Program => log.json().flatten_event(true).init(),
    }
}

/// `warning: …`, and what is less as it is.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if *event.metadata().level() <= Level::WARN {
            write!(writer, "warning: ")?;
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
