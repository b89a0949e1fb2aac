//! The demo: the main job of a load balancer on real traffic, and a clean machine afterwards.
//!
//! `cargo xtask demo` builds what this needs and runs it.

mod acts;
mod book;
mod expected;
mod forward;
mod lab;
mod paint;
mod screen;
mod stage;
mod table;

use std::process::ExitCode;

use clap::Parser;
use lb_tests::leftovers::{self, Machine};

use crate::{
    acts::ACTS,
    book::Book,
    forward::{Choice, Forward},
    screen::Screen,
    stage::Stage,
};

/// Shows lb at work in network namespaces of this machine: how it spreads requests, and what its
/// clients notice when a backend dies, leaves or joins, and when lb itself crashes.
#[derive(Parser)]
#[command(name = "cargo xtask demo")]
struct Arguments {
    /// Say nothing; exit with 0 if everything went as promised, else tell what did not and exit
    /// with 1.
    #[arg(long)]
    check: bool,
    /// How packets are sent to the backends.
    #[arg(long, value_enum, default_value_t = Choice::All)]
    forward: Choice,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut screen = if arguments.check { Screen::silent() } else { Screen::stdout() };
    let mut book = Book::default();
    let machine = Machine::now();
    for forward in arguments.forward.forwards() {
        screen.title(&format!("Forwarding by {forward}"));
        if let Err(error) = play(*forward, &mut screen, &mut book) {
            screen.expectation(book.expect("this can be played to its end", false, &error));
        }
    }
    afterwards(&machine, &mut screen, &mut book);
    screen.summary(&book);
    if arguments.check {
        eprint!("{}", book.failures());
    }
    if book.all_held() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays all acts in one network. It is gone when this returns.
fn play(forward: Forward, screen: &mut Screen, book: &mut Book) -> Result<(), String> {
    let mut stage = Stage::new(forward, screen, book).map_err(|error| error.to_string())?;
    for (number, act) in (1..).zip(ACTS) {
        stage.begin(number, act);
        (act.play)(&mut stage).map_err(|error| stage.explain(&error))?;
    }
    Ok(())
}

fn afterwards(before: &Machine, screen: &mut Screen, book: &mut Book) {
    screen.title("Afterwards");
    book.begin("afterwards");
    let clean = before.wait_until_clean();
    let seen = clean.as_ref().map_or_else(ToString::to_string, |()| "nothing is new".into());
    let text = "interfaces, namespaces, mounts and pins are as before";
    screen.expectation(book.expect(text, clean.is_ok(), &seen));
    let running = leftovers::children(std::process::id());
    let seen = format!("{} run", running.len());
    screen.expectation(book.expect("no process is left", running.is_empty(), &seen));
}
