//! Flags and environment → values, each checked; all problems are kept.

use std::str::FromStr;

use super::flags::Flag;
use super::settings::{SettingError, SettingsError};
use crate::api::parse::go_bool;

/// One value, and where it came from.
pub(super) struct Value {
    pub(super) text: String,
    pub(super) origin: String,
    from_env: bool,
}

/// Looks values up and keeps what is wrong with them.
pub(super) struct Reader<'a> {
    arg: Lookup<'a>,
    env: Lookup<'a>,
    errors: Vec<SettingError>,
    notices: Vec<String>,
}

/// Finds a value by its name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl<'a> Reader<'a> {
    /// `arg` looks up a flag by its long name, `env` an environment variable.
    pub(super) fn new(arg: Lookup<'a>, env: Lookup<'a>) -> Self {
        Self {
            arg,
            env,
            errors: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// What was read, with what was ignored and why; or all that cannot be used.
    pub(super) fn finish<T>(self, read: T) -> Result<(T, Vec<String>), SettingsError> {
        if self.errors.is_empty() {
            Ok((read, self.notices))
        } else {
            Err(SettingsError(self.errors))
        }
    }

    /// The value from the command line or, where there is none, from the environment.
    pub(super) fn given(&self, flag: &Flag) -> Option<Value> {
        if let Some(text) = (self.arg)(flag.long).filter(|_| !flag.long.is_empty()) {
            let short = flag.short.map(|c| format!(" (-{c})")).unwrap_or_default();
            return Some(Value {
                text,
                origin: format!("--{}{short}", flag.long),
                from_env: false,
            });
        }
        flag.env.iter().find_map(|name| {
            Some(Value {
                text: (self.env)(name)?,
                origin: (*name).to_owned(),
                from_env: true,
            })
        })
    }

    /// The value that counts, the default where none is given.
    pub(super) fn value(&self, flag: &Flag) -> Value {
        self.given(flag).unwrap_or_else(|| Value {
            text: flag.default.to_owned(),
            origin: format!("--{}", flag.long),
            from_env: false,
        })
    }

    pub(super) fn refuse(
        &mut self,
        value: &Value,
        item: Option<(usize, String)>,
        allowed: &'static str,
    ) {
        self.errors.push(SettingError {
            origin: value.origin.clone(),
            value: value.text.clone(),
            item,
            allowed,
        });
    }

    /// A value that is no list. Unusable from the environment: the default, with a notice.
    pub(super) fn scalar<T>(
        &mut self,
        flag: &Flag,
        allowed: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(flag);
        if let Some(parsed) = parse(value.text.trim()) {
            return Some(parsed);
        }
        if value.from_env {
            self.notices.push(format!(
                "{} {:?} is ignored, {:?} counts; allowed: {allowed}",
                value.origin, value.text, flag.default
            ));
            return parse(flag.default);
        }
        self.refuse(&value, None, allowed);
        None
    }

    pub(super) fn port(&mut self, flag: &Flag) -> u16 {
        let port = self.scalar(flag, "a port from 1 to 65535", |text| {
            text.parse().ok().filter(|port| *port != 0)
        });
        port.unwrap_or_default()
    }

    /// One less than the most is the limit, as marks are also counted one up.
    pub(super) fn number(&mut self, flag: &Flag) -> u32 {
        self.scalar(flag, "a number from 1 to 4294967294", |text| {
            text.parse().ok().filter(|n| !matches!(*n, 0 | u32::MAX))
        })
        .unwrap_or_default()
    }

    /// A routing table. The kernel's own hold the pod's routes: "all addresses are local" there would end its traffic.
    pub(super) fn routing_table(&mut self, flag: &Flag) -> u32 {
        let allowed =
            "a number from 1 to 4294967294 other than 253, 254 and 255, the kernel's own tables";
        self.scalar(flag, allowed, |text| {
            text.parse()
                .ok()
                .filter(|n| !matches!(*n, 0 | 253..=255 | u32::MAX))
        })
        .unwrap_or_default()
    }

    pub(super) fn switch(&mut self, flag: &Flag) -> bool {
        self.scalar(flag, "true or false", go_bool)
            .unwrap_or_default()
    }

    pub(super) fn items<T: FromStr>(&mut self, value: &Value, allowed: &'static str) -> Vec<T> {
        let mut items = Vec::new();
        for (index, text) in value.text.split(',').map(str::trim).enumerate() {
            if text.is_empty() {
                continue;
            }
            match text.parse() {
                Ok(item) => items.push(item),
                Err(_) => self.refuse(value, Some((index + 1, text.to_owned())), allowed),
            }
        }
        items
    }

    /// A list separated by commas; empty items are skipped, as Istio does.
    pub(super) fn list<T: FromStr>(&mut self, flag: &Flag, allowed: &'static str) -> Vec<T> {
        let value = self.value(flag);
        self.items(&value, allowed)
    }

    /// A list, or `None` for `*`.
    pub(super) fn list_or_all<T: FromStr>(
        &mut self,
        flag: &Flag,
        allowed: &'static str,
    ) -> Option<Vec<T>> {
        let value = self.value(flag);
        if value.text.trim() == "*" {
            None
        } else {
            Some(self.items(&value, allowed))
        }
    }
}
