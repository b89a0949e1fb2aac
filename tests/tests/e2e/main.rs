//! lbd and lbctl from end to end: the real programs, real traffic, one network a test.
//!
//! One program for all topics, so that all tests share the machine's cores from beginning to end.

mod site;

mod attachment;
mod backend_side;
mod checks;
mod config;
mod counters;
mod departures;
mod disruption;
mod events;
mod flows;
mod forwarding;
mod grace;
mod gue;
mod health;
mod jumbo;
mod lifecycle;
mod loops;
mod memory;
mod movement;
mod nat;
mod operator;
mod passing;
mod ping;
mod pmtu;
mod policies;
mod registry;
mod reload;
mod scaling;
mod schedulers;
mod second_chance;
mod unreachables;
mod upgrade;
mod ways;
mod well;
