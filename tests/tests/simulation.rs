//! Promises of the control core that are looked at in simulations can be broken: each is noticed.

use lb_tests::simulation::{Sabotage, run};

/// What the first seeds that find a broken part say.
fn noticed(sabotage: Sabotage) -> &'static str {
    let told = (0..500).find_map(|seed| run(seed, Some(sabotage), true, None).err());
    told.map_or("nothing", |violation| violation.promise)
}

#[test]
fn broken_flap_damping_is_noticed() {
    assert_eq!(noticed(Sabotage::Damping), "flap damping");
}

#[test]
fn a_broken_ejection_limit_is_noticed() {
    assert_eq!(noticed(Sabotage::EjectionLimit), "the ejection limit");
}

#[test]
fn one_failure_more_than_configured_is_noticed() {
    assert_eq!(noticed(Sabotage::Fall), "rise and fall");
}

#[test]
fn missing_panic_is_noticed() {
    assert_eq!(noticed(Sabotage::Panic), "panic");
}

#[test]
fn a_cut_uplink_that_nobody_notices_is_noticed() {
    assert_eq!(noticed(Sabotage::Uplink), "a cut uplink is noticed");
}

#[test]
fn a_story_told_again_is_the_same() {
    for seed in 0..3 {
        let [once, again] = [true, true].map(|jumps| run(seed, None, jumps, None));
        assert_eq!(once.expect("no promise is broken"), again.expect("no promise is broken"));
    }
}

#[test]
fn other_seeds_are_other_stories() {
    let [one, other] = [0, 1].map(|seed| run(seed, None, true, None));
    assert_ne!(one.expect("kept").digest, other.expect("kept").digest);
}
