//! What is to be done, as commands that can be run or shown.

use std::{
    fmt::{self, Display, Formatter},
    process::Command,
};

use anyhow::Result;

use super::{host::User, progress::Progress};

/// One thing that is missing, and the commands that bring it.
pub(super) struct Step {
    /// The thing.
    pub(super) name: String,
    /// What brings it.
    pub(super) commands: Vec<Invocation>,
    /// What brings it if one of `commands` fails; may be empty.
    pub(super) otherwise: Vec<Invocation>,
}

impl Step {
    pub(super) fn new(name: String, commands: Vec<Invocation>) -> Self {
        let otherwise = Vec::new();
        Self { name, commands, otherwise }
    }

    pub(super) fn or_else(self, otherwise: Vec<Invocation>) -> Self {
        Self { otherwise, ..self }
    }

    /// Runs the commands, and if they fail, the others.
    pub(super) fn take(&self, progress: &mut Progress) -> Result<()> {
        let first = run(&self.commands, progress);
        match first {
            Err(error) if !self.otherwise.is_empty() => {
                progress.note(&format!("{error:#}; trying another way"));
                run(&self.otherwise, progress)
            }
            result => result,
        }
    }
}

fn run(commands: &[Invocation], progress: &mut Progress) -> Result<()> {
    commands
        .iter()
        .try_for_each(|command| progress.watch(&mut command.command(), &command.to_string()))
}

/// A command that can be run or shown.
#[derive(Clone)]
pub(super) struct Invocation {
    needs: User,
    variables: Vec<(&'static str, String)>,
    program: &'static str,
    arguments: Vec<String>,
}

impl Invocation {
    /// A command that changes the system.
    pub(super) fn root(program: &'static str) -> Self {
        Self { needs: User::Root, variables: Vec::new(), program, arguments: Vec::new() }
    }

    /// A command that only changes the home directory.
    pub(super) fn user(program: &'static str) -> Self {
        Self { needs: User::Other, ..Self::root(program) }
    }

    pub(super) fn with<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    pub(super) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.arguments).envs(self.variables.clone());
        command
    }

    /// The command as this user has to type it.
    pub(super) fn typed_by(&self, user: User) -> String {
        match (self.needs, user) {
            (User::Root, User::Other) => format!("sudo {self}"),
            _ => self.to_string(),
        }
    }
}

impl Display for Invocation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+=:,./@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_a_shell_reads_them() {
        let command = Invocation::user("cargo").variable("LLVM_PREFIX", "/usr/lib/llvm-22").with([
            "install",
            "--root",
            "/home/o'hara/my tools",
        ]);
        assert_eq!(
            command.to_string(),
            r"LLVM_PREFIX=/usr/lib/llvm-22 cargo install --root '/home/o'\''hara/my tools'"
        );
    }

    #[test]
    fn only_what_changes_the_system_asks_for_root() {
        let apt = Invocation::root("apt-get").with(["update"]);
        assert_eq!(apt.typed_by(User::Other), "sudo apt-get update");
        assert_eq!(apt.typed_by(User::Root), "apt-get update");
        let rustup = Invocation::user("rustup").with(["update"]);
        assert_eq!(rustup.typed_by(User::Other), "rustup update");
    }
}
