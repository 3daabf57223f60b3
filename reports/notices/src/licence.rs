//! Which licences are allowed, and what packages say about theirs.

use anyhow::{Context as _, ensure};
use spdx::{Expression, ParseMode};

use crate::packages::Package;

/// The licences that a package may be used under: those that ask for no more than their text and
/// the names of the authors in a package of binaries, which [`crate::texts`] has. Of a package with
/// several to choose from one is enough.
pub const ALLOWED: [&str; 6] = ["Apache-2.0", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Zlib"];

/// Checks that `package` may be used under [`ALLOWED`].
///
/// # Errors
///
/// When it names no licence, one that SPDX does not know, or none that is allowed.
pub fn check(package: &Package) -> anyhow::Result<()> {
    is_usable_under(package, &ALLOWED).and_then(|is_usable| {
        let said = package.license.as_deref().unwrap_or_default();
        ensure!(
            is_usable,
            "{} {} has the licence {said}, which is not among those allowed: {}",
            package.name,
            package.version,
            ALLOWED.join(", ")
        );
        Ok(())
    })
}

/// Whether `package` may be used under the licences `allowed` alone.
///
/// # Errors
///
/// When it names no licence, or one that SPDX does not know.
pub fn is_usable_under(package: &Package, allowed: &[&str]) -> anyhow::Result<bool> {
    let Package { name, version, .. } = package;
    let said = package.license.as_deref();
    let said = said.with_context(|| format!("{name} {version} names no licence"))?;
    // Registries have taken `MIT/Apache-2.0` for years.
    let mode = ParseMode { allow_slash_as_or_operator: true, ..ParseMode::STRICT };
    let licence = Expression::parse_mode(said, mode)
        .with_context(|| format!("{name} {version} has the licence {said}, which is none"))?;
    // One with an exception is none of these, although the exception may only give more.
    Ok(licence.evaluate(|it| {
        it.addition.is_none() && it.license.id().is_some_and(|id| allowed.contains(&id.name))
    }))
}
