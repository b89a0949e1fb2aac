//! The steps as text, for where setup may not take them.

use super::{
    host::{Host, User},
    step::{Invocation, Step},
};

/// What is missing, why nothing was done about it, and the commands.
pub(super) fn text(steps: &[Step], hindrance: &str, host: &Host) -> String {
    let missing: String = steps.iter().map(|step| format!("missing: {}\n", step.name)).collect();
    let commands: String = steps.iter().map(|step| commands(step, host.user())).collect();
    format!("{missing}\n{hindrance}\n\n{commands}")
}

fn commands(step: &Step, user: User) -> String {
    let lines = |commands: &[Invocation]| -> String {
        commands.iter().map(|command| format!("    {}\n", command.typed_by(user))).collect()
    };
    let mut text = lines(&step.commands);
    if !step.otherwise.is_empty() {
        text.push_str("    # or, if that fails:\n");
        for line in lines(&step.otherwise).lines() {
            text.push_str("    # ");
            text.push_str(line.trim_start());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_way_is_a_comment() {
        let step = Step::new("x".into(), vec![Invocation::user("a")])
            .or_else(vec![Invocation::root("b"), Invocation::root("c")]);
        assert_eq!(
            commands(&step, User::Other),
            "    a\n    # or, if that fails:\n    # sudo b\n    # sudo c\n"
        );
    }
}
