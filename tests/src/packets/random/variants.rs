//! The many forms that a client's packet may have on the wire.

use std::net::IpAddr;

use fastrand::Rng;

use super::{once_in, one_of};
use crate::packets::{
    ETHERNET, Extension, LONGEST_FRAME, Shape, Tag, extended, fragments, hopped,
    icmp::{self, Complaint},
    tagged,
};

/// Routers that send ICMP errors.
const ROUTERS: [&str; 2] = ["203.0.113.1", "2001:db8:ffff::1"];

/// The packet in one of its forms: as it is, in fragments, with extension headers, as what an ICMP
/// error quotes, or with an echo request in its place; all of them with up to three tags.
pub(super) fn frames_of(rng: &mut Rng, shape: &Shape) -> Vec<Vec<u8>> {
    let frame = if once_in(rng, 12) { at_last_hops(rng, shape) } else { shape.frame() };
    let frames = match rng.u8(..12) {
        0..=5 => vec![frame],
        6 | 7 => in_pieces(rng, &frame),
        8 if shape.client.is_ipv6() => vec![extended(&frame, &random_chain(rng))],
        9 if shape.client.is_ipv6() => {
            let frame = extended(&frame, &random_chain(rng));
            in_pieces(rng, &frame)
        }
        10 => vec![icmp::echo_request(shape.client, shape.vip.ip(), &shape.payload)],
        _ => vec![random_error(rng, shape)],
    };
    let tags = if once_in(rng, 3) { random_tags(rng) } else { Vec::new() };
    frames.iter().map(|frame| cut(tagged(frame, &tags))).collect()
}

/// A packet that has come far.
fn at_last_hops(rng: &mut Rng, shape: &Shape) -> Vec<u8> {
    let mut frame = shape.frame();
    let field = ETHERNET + if shape.client.is_ipv6() { 7 } else { 8 };
    frame[field] = one_of(rng, &[1, 2, 3]);
    hopped(&frame)
}

/// Fragments of a datagram, few or many, one of which may be missing; they are drawn in any order.
fn in_pieces(rng: &mut Rng, frame: &[u8]) -> Vec<Vec<u8>> {
    let sizes = [8, 16, 24, 32, 64, 640, 1280];
    // Identifications come again, so that datagrams of different clients share one.
    let identification = one_of(rng, &[1, 2, 0xffff, 0x0001_0001]);
    let mut pieces = fragments(frame, one_of(rng, &sizes), identification);
    pieces.truncate(6);
    if pieces.len() > 1 && once_in(rng, 4) {
        pieces.remove(rng.usize(..pieces.len()));
    }
    pieces
}

fn random_chain(rng: &mut Rng) -> Vec<Extension> {
    let any = [
        Extension::HopByHop(1),
        Extension::HopByHop(4),
        Extension::Destination(1),
        Extension::Destination(12),
        Extension::Routing(0),
        Extension::Routing(1),
        Extension::Authentication,
        Extension::AtomicFragment,
    ];
    let length = one_of(rng, &[1, 1, 1, 2, 2, 3, 4, 8, 12]);
    (0..length).map(|_| one_of(rng, &any)).collect()
}

/// Quotes of the least that RFC 792 demands, of whole headers, and of nearly nothing.
fn random_error(rng: &mut Rng, shape: &Shape) -> Vec<u8> {
    let router = ROUTERS[usize::from(shape.client.is_ipv6())];
    let router: IpAddr = router.parse().expect("router address");
    let complaints = [Complaint::Unreachable, Complaint::TooBig(1280), Complaint::TimeExceeded];
    let quoted = one_of(rng, &[8, 8, 8, 20, 28, 64, 576, 0, 7]);
    icmp::error(router, shape, one_of(rng, &complaints), quoted)
}

fn random_tags(rng: &mut Rng) -> Vec<Tag> {
    let control = one_of(rng, &[0, 1, 100, 4095, 0xe064]);
    match rng.u8(..6) {
        0..=2 => vec![Tag::customer(control)],
        3 => vec![Tag::service(control), Tag::customer(1)],
        4 => vec![Tag::customer(control); 2],
        _ => vec![Tag::service(control), Tag::customer(1), Tag::customer(2)],
    }
}

fn cut(mut frame: Vec<u8>) -> Vec<u8> {
    frame.truncate(LONGEST_FRAME);
    frame
}
