//! Who follows whom in a run: msggen writes the list, and the server's store is made of it.

use std::path::PathBuf;

use reports::run::COMET_SERVER;

use crate::place;
use crate::stage::{Stage, words};

impl Stage<'_> {
    /// Writes the list and loads it into a store, if the scenario has friends.
    pub(crate) async fn befriend(&mut self) -> anyhow::Result<()> {
        let Some(friends) = self.job.scenario.friends.clone() else { return Ok(()) };
        let (list, store) = (self.list_path()?, self.store_path()?);
        let n_edges = friends.users.saturating_mul(friends.follows);
        self.progress.begin(&format!("writing {n_edges} edges"));
        let numbers = [friends.users, friends.follows, friends.seed].map(|it| it.to_string());
        let [users, follows, seed] = &numbers;
        let mut flags = words(["friends", "--users", users, "--follows", follows]);
        flags.extend(words(["--shape", &friends.shape, "--seed", seed, "--out", &list]));
        self.run_to_its_end("msggen", &flags).await?;
        self.progress.begin(&format!("loading {n_edges} edges"));
        let flags = words(["friends", "load", &list, "--into", &store]);
        self.run_to_its_end(COMET_SERVER, &flags).await
    }

    /// Runs a program to its end, and writes its command line into the plan.
    async fn run_to_its_end(&mut self, program: &str, flags: &[String]) -> anyhow::Result<()> {
        place::note(&mut self.plan, &self.folder, program, flags)?;
        self.programs.run(program, flags).await
    }

    /// The folder of the store. Like the list it is no part of the run's folder: a million users
    /// make 200 MB of each, and the plan says how they are made.
    pub(crate) fn store_path(&self) -> anyhow::Result<String> {
        self.temporary_path("friends")
    }

    /// Where the list is.
    fn list_path(&self) -> anyhow::Result<String> {
        self.temporary_path("friends.txt")
    }

    /// The list, if the scenario has friends.
    pub(crate) fn list(&self) -> anyhow::Result<Option<PathBuf>> {
        let has_friends = self.job.scenario.friends.is_some();
        Ok(has_friends.then(|| self.list_path()).transpose()?.map(PathBuf::from))
    }
}
