//! The words after the command, as `kustomize build` takes them.

use std::iter::Peekable;

/// Printed for `--help`.
pub(crate) const USAGE: &str = "Build a set of KRM resources using a 'kustomization.yaml' file.
The DIR argument must be a path to a directory containing
'kustomization.yaml'. If DIR is omitted, '.' is assumed.

Usage:
  kustomize-build [DIR] [flags]

Flags:
      --enable-managedby-label  add the label app.kubernetes.io/managed-by
  -h, --help                    help for build
      --load-restrictor string  if set to 'LoadRestrictionsNone', local kustomizations may load files from
                                outside their root (default \"LoadRestrictionsRootOnly\")
  -o, --output string           if specified, write output to this path
      --reorder string          'legacy' or 'none'; deprecated, use 'sortOptions' in kustomization.yaml

Taken without effect, since charts, plugins and functions are never run:
      --as-current-user, --enable-alpha-plugins, --enable-exec, --enable-helm, -e, --env, --helm-api-versions,
      --helm-command, --helm-debug, --helm-kube-version, --mount, --network, --network-name, --stack-trace
";

#[derive(Clone, Copy, PartialEq)]
enum Flag {
    Output,
    Reorder,
    Restrictor,
    ManagedBy,
    Help,
    Helm,
    /// Has no effect here.
    Inert,
}

/// Long name, short name, meaning, and whether a value has to follow.
const FLAGS: &[(&str, &str, Flag, bool)] = &[
    ("--output", "-o", Flag::Output, true),
    ("--reorder", "", Flag::Reorder, true),
    ("--load-restrictor", "", Flag::Restrictor, true),
    ("--enable-managedby-label", "", Flag::ManagedBy, false),
    ("--as-current-user-managed-by", "", Flag::ManagedBy, false),
    ("--help", "-h", Flag::Help, false),
    ("--enable-helm", "", Flag::Helm, false),
    ("--as-current-user", "", Flag::Inert, false),
    ("--enable-alpha-plugins", "", Flag::Inert, false),
    ("--enable-exec", "", Flag::Inert, false),
    ("--env", "-e", Flag::Inert, true),
    ("--helm-api-versions", "", Flag::Inert, true),
    ("--helm-command", "", Flag::Inert, true),
    ("--helm-debug", "", Flag::Inert, false),
    ("--helm-kube-version", "", Flag::Inert, true),
    ("--mount", "", Flag::Inert, true),
    ("--network", "", Flag::Inert, false),
    ("--network-name", "", Flag::Inert, true),
    ("--stack-trace", "", Flag::Inert, false),
];

/// What the words say.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) directory: Option<String>,
    pub(crate) reorder: Option<String>,
    pub(crate) restrictor: Option<String>,
    pub(crate) output: Option<String>,
    pub(crate) managed_by: bool,
    pub(crate) helm: bool,
    pub(crate) help: bool,
}

impl Arguments {
    /// Reads the words.
    ///
    /// # Errors
    /// Unknown flags, missing or wrong values, and a second directory, in the words of the command's own library.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                words.by_ref().try_for_each(|word| arguments.place(word))?;
            } else if word.starts_with("--") {
                let (name, value) = match word.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (word.as_str(), None),
                };
                let found = FLAGS.iter().find(|(long, ..)| *long == name);
                let Some((_, _, flag, wants)) = found else { return Err(format!("unknown flag: {name}")) };
                arguments.set(*flag, name, value.or_else(|| following(*wants, &mut words)), *wants, name)?;
            } else if word.len() > 1 && word.starts_with('-') {
                arguments.short(&word, &mut words)?;
            } else {
                arguments.place(word)?;
            }
        }
        Ok(arguments)
    }

    /// Several flags of one letter; what follows the first that wants a value is its value.
    fn short(
        &mut self,
        word: &str,
        words: &mut Peekable<impl Iterator<Item = String>>,
    ) -> Result<(), String> {
        for (at, letter) in word.char_indices().skip(1) {
            let name = format!("-{letter}");
            let rest = word.get(at..).unwrap_or_default();
            let found = FLAGS.iter().find(|(_, short, ..)| *short == name);
            let Some((_, _, flag, wants)) = found else {
                return Err(format!("unknown shorthand flag: '{letter}' in -{rest}"));
            };
            let value = rest.get(letter.len_utf8()..).filter(|value| !value.is_empty());
            if *wants || value.is_some_and(|value| value.starts_with('=')) {
                let value = value.map(|value| value.strip_prefix('=').unwrap_or(value).to_owned());
                let value = value.or_else(|| following(true, words));
                return self.set(*flag, &name, value, *wants, &format!("'{letter}' in -{rest}"));
            }
            self.set(*flag, &name, None, false, "")?;
        }
        Ok(())
    }

    fn set(
        &mut self,
        flag: Flag,
        name: &str,
        value: Option<String>,
        wants: bool,
        shown: &str,
    ) -> Result<(), String> {
        if wants && value.is_none() {
            return Err(format!("flag needs an argument: {shown}"));
        }
        let on = match value.as_deref() {
            _ if wants => true,
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some(other) => {
                return Err(format!(
                    "invalid argument {other:?} for \"{name}\" flag: strconv.ParseBool: parsing {other:?}: invalid syntax"
                ));
            }
        };
        match flag {
            Flag::Output => self.output = value,
            Flag::Reorder => self.reorder = value,
            Flag::Restrictor => self.restrictor = value,
            Flag::ManagedBy => self.managed_by = on,
            Flag::Help => self.help = on,
            Flag::Helm => self.helm = on,
            Flag::Inert => {}
        }
        Ok(())
    }

    fn place(&mut self, word: String) -> Result<(), String> {
        if self.directory.is_some() {
            return Err("specify one path to kustomization.yaml".to_owned());
        }
        self.directory = Some(word);
        Ok(())
    }
}

fn following(wanted: bool, words: &mut Peekable<impl Iterator<Item = String>>) -> Option<String> {
    words.next_if(|_| wanted)
}
