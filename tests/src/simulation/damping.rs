//! Flap damping, counted once more: what the control core may do is judged by another hand.

use lb_userspace::model::Damping;

/// One backend's points.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Points {
    was_well: Option<bool>,
    points: f64,
    at: u64,
    is_kept_out: bool,
}

impl Points {
    /// Takes in whether the backend is well at a time.
    pub(super) fn note(&mut self, damping: &Damping, is_well: bool, now: u64) {
        let half_life = damping.half_life.as_millis() as f64;
        self.points *= (-((now - self.at) as f64) / half_life).exp2();
        self.at = now;
        if self.was_well == Some(true) && !is_well {
            let half_lives = damping.longest.as_secs_f64() / damping.half_life.as_secs_f64();
            self.points = (self.points + 1.0).min(damping.reuse * half_lives.exp2());
            self.is_kept_out |= self.points >= damping.limit;
        }
        // A thousandth is what rounding to milliseconds may come to.
        self.is_kept_out &= self.points > damping.reuse * 1.001;
        self.was_well = Some(is_well);
    }

    /// Whether it must be out.
    pub(super) const fn is_kept_out(&self) -> bool {
        self.is_kept_out
    }
}
