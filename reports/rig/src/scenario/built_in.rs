//! The scenarios that the rig has with it.

/// Their names and texts.
const BUILT_IN: &[(&str, &str)] = &[
    ("c10k", include_str!("../../scenarios/c10k.toml")),
    ("cluster", include_str!("../../scenarios/cluster.toml")),
    ("c1m", include_str!("../../scenarios/c1m.toml")),
    ("friends", include_str!("../../scenarios/friends.toml")),
    ("storm", include_str!("../../scenarios/storm.toml")),
    ("llm", include_str!("../../scenarios/llm.toml")),
];

/// The text of the scenario `name`.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// All names.
pub(crate) fn names() -> String {
    BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
