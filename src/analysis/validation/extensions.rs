//! WasmPlugin and TrafficExtension.

use std::collections::BTreeSet;

use crate::api::metadata::Metadata;
use crate::api::policies::{
    EnvironmentVariable, LuaExtension, TrafficExtensionSpec, TrafficSelector, ValueSource,
    VmConfig, WasmExtension, WasmPluginSpec,
};

use super::Validate;
use super::fields;
use super::policies;
use super::report::Field;
use super::url;

/// The greatest length of a Secret's name.
const LONGEST_SECRET: usize = 253;

/// The greatest length of a plugin's name and of an environment variable's.
const LONGEST_NAME: usize = 256;

/// The greatest length of an environment variable's value.
const LONGEST_VALUE: usize = 2048;

/// The greatest length of a Lua program.
const LONGEST_PROGRAM: usize = 65_536;

/// What both kinds say of a WebAssembly module.
struct Module<'a> {
    url: &'a str,
    sha256: &'a str,
    secret: &'a str,
    name: &'a str,
    vm: &'a Option<VmConfig>,
}

impl Validate for WasmPluginSpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        policies::target(at, self);
        policies::dry_run(meta, at, false);
        let module = Module {
            url: &self.url,
            sha256: &self.sha256,
            secret: &self.image_pull_secret,
            name: &self.plugin_name,
            vm: &self.vm_config,
        };
        wasm(at, module);
        selectors(at, &self.r#match);
    }
}

impl Validate for TrafficExtensionSpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        policies::target(at, self);
        policies::dry_run(meta, at, false);
        let members = [("wasm", self.wasm.is_some()), ("lua", self.lua.is_some())];
        fields::only_one(at, &members);
        if members.iter().all(|(_, set)| !set) {
            at.invalid("one of wasm and lua is needed");
        }
        at.within("wasm", &self.wasm, |at, extension: &WasmExtension| {
            let module = Module {
                url: &extension.url,
                sha256: &extension.sha256,
                secret: &extension.image_pull_secret,
                name: &extension.plugin_name,
                vm: &extension.vm_config,
            };
            wasm(at, module);
        });
        at.within("lua", &self.lua, |at, lua: &LuaExtension| {
            let code = at.member("inlineCode");
            match lua.inline_code.len() {
                0 => code.invalid("is needed"),
                length if length > LONGEST_PROGRAM => {
                    code.invalid(format!(
                        "{length} bytes are too many; {LONGEST_PROGRAM} fit"
                    ));
                }
                _ => {}
            }
        });
        selectors(at, &self.r#match);
    }
}

fn wasm(at: &Field<'_>, module: Module<'_>) {
    let url = at.member("url");
    if module.url.is_empty() {
        url.invalid("says where the module is, and is needed");
    } else {
        match url::scheme(module.url) {
            Err(error) => url.invalid(error),
            Ok(scheme) if !["", "file", "http", "https", "oci"].contains(&scheme.as_str()) => {
                url.invalid(format!(
                    "{:?} is none of oci://, http://, https:// and file://",
                    module.url
                ));
            }
            Ok(_) => {}
        }
    }
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let sum = module.sha256;
    if !sum.is_empty() && (sum.len() != 64 || !sum.bytes().all(is_digit)) {
        at.member("sha256")
            .invalid(format!("{sum:?} is not 64 of the digits 0 to 9 and a to f"));
    }
    not_longer(&at.member("imagePullSecret"), module.secret, LONGEST_SECRET);
    not_longer(&at.member("pluginName"), module.name, LONGEST_NAME);
    at.within("vmConfig", module.vm, |at, vm| environment(at, &vm.env));
}

fn environment(at: &Field<'_>, variables: &[EnvironmentVariable]) {
    let mut seen = BTreeSet::new();
    let list = at.member("env");
    for (index, variable) in variables.iter().enumerate() {
        let at = list.index(index);
        let name = at.member("name");
        if variable.name.is_empty() {
            name.invalid("is needed");
        } else if !seen.insert(&variable.name) {
            name.invalid(format!("{:?} is there twice", variable.name));
        }
        not_longer(&name, &variable.name, LONGEST_NAME);
        let value = at.member("value");
        not_longer(&value, &variable.value, LONGEST_VALUE);
        if variable.value_from != ValueSource::Inline && !variable.value.is_empty() {
            value.invalid("can be set with valueFrom INLINE only");
        }
    }
}

fn not_longer(at: &Field<'_>, text: &str, most: usize) {
    let length = text.chars().count();
    if length > most {
        at.invalid(format!("{length} characters are too many; {most} fit"));
    }
}

fn selectors(at: &Field<'_>, selectors: &[TrafficSelector]) {
    at.each("match", selectors, |at, selector| {
        at.each("ports", &selector.ports, |at, port| {
            fields::port(&at.member("number"), port.number);
        });
    });
}
