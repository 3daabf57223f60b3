//! `msggen friends`: graphs of who follows whom, as text: `A B` a line means that A follows B.
//!
//! Every user follows the same number of others, never itself and nobody twice, so that N users
//! with F friends each are N × F lines exactly. Lines are in the order of A, then of B. A graph
//! depends on its shape, its sizes and its seed, and on nothing else; changing that makes old seeds
//! mean other graphs.
//!
//! By *preferential attachment* (Barabási and Albert, Science 286, 1999) users come one after the
//! other, and each follows users that are there, with odds in proportion to how many they follow
//! and are followed by. So a few are followed by thousands and most by a handful: the number that
//! have k such ties falls with k⁻³. The first F + 1 users have nobody to choose from and follow
//! each other. Which id a user has is drawn apart from when it came, so that any range of ids is a
//! fair sample.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::random::Random;
use crate::template::push_number;

/// The most users: ids of 32 bits.
pub const HIGHEST_USERS: u64 = u32::MAX as u64;

/// The most that a user follows. What it has chosen is looked through for each choice.
pub const HIGHEST_FOLLOWS: u64 = 10_000;

/// The most edges by preferential attachment, which holds 4 bytes for each: 1 GB. The other shapes
/// hold nothing.
pub const HIGHEST_HELD_EDGES: u64 = 250_000_000;

/// Bytes that are written at a time.
const WRITE_BYTES: usize = 64 * 1024;

/// The stream of the seed's numbers that edges are drawn from.
const EDGES: u64 = 0;

/// The stream that ids are drawn from.
const IDS: u64 = 1;

/// Whom users follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// By preferential attachment.
    BarabasiAlbert,
    /// Anybody, each as likely as the others.
    Uniform,
    /// The next ones, in a circle: all are followed by the same number.
    Ring,
}

/// `ba`, `uniform`, `ring`.
impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ba" => Ok(Self::BarabasiAlbert),
            "uniform" => Ok(Self::Uniform),
            "ring" => Ok(Self::Ring),
            _ => Err("write ba (Barabási–Albert), uniform or ring".to_owned()),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BarabasiAlbert => "ba",
            Self::Uniform => "uniform",
            Self::Ring => "ring",
        })
    }
}

/// Why there is no such graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// There are too few to follow.
    #[error(
        "{users} users cannot follow {follows} others each; --users must be more than --follows"
    )]
    TooFew {
        /// Users.
        users: u64,
        /// How many each is to follow.
        follows: u64,
    },
    /// Its edges do not fit into the memory that it may take.
    #[error(
        "{0} edges are more than the {HIGHEST_HELD_EDGES} that --shape ba holds in memory (4 bytes \
         each); --shape uniform and ring hold nothing"
    )]
    TooManyEdges(u64),
}

/// A graph of who follows whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graph {
    /// How users choose whom they follow.
    shape: Shape,
    /// Users; their ids are 1 to this.
    users: u32,
    /// How many each follows.
    follows: u32,
    /// What choices follow from.
    seed: u64,
}

impl Graph {
    /// A graph of `users` who follow `follows` others each: at most [`HIGHEST_USERS`] and
    /// [`HIGHEST_FOLLOWS`].
    pub fn new(shape: Shape, users: u64, follows: u64, seed: u64) -> Result<Self, GraphError> {
        if users <= follows {
            return Err(GraphError::TooFew { users, follows });
        }
        let n_edges = users.saturating_mul(follows);
        if shape == Shape::BarabasiAlbert && n_edges > HIGHEST_HELD_EDGES {
            return Err(GraphError::TooManyEdges(n_edges));
        }
        let users = u32::try_from(users).expect("it is at most the highest");
        let follows = u32::try_from(follows).expect("it is at most the highest");
        Ok(Self { shape, users, follows, seed })
    }

    /// Its edges.
    pub fn n_edges(&self) -> u64 {
        u64::from(self.users) * u64::from(self.follows)
    }

    /// Writes it, an edge a line.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut lines = Lines { to, text: String::new(), follower: String::new() };
        match self.shape {
            Shape::BarabasiAlbert => Attached::draw(self).write(&mut lines)?,
            Shape::Uniform => self.write_uniform(&mut lines)?,
            Shape::Ring => self.write_ring(&mut lines)?,
        }
        lines.finish()
    }

    /// Writes a graph in which everybody follows anybody.
    fn write_uniform(&self, lines: &mut Lines<'_, impl Write>) -> io::Result<()> {
        let mut random = Random::new(self.seed, EDGES);
        let n_others = u64::from(self.users) - 1;
        let mut followed: Vec<u32> = Vec::new();
        for user in 0..self.users {
            followed.clear();
            // What was drawn twice is drawn again: that is to draw until all differ.
            while followed.len() < self.follows as usize {
                let missing = self.follows as usize - followed.len();
                followed.extend((0..missing).map(|_| {
                    let other = u32::try_from(random.below(n_others)).expect("it is a user");
                    other + u32::from(other >= user)
                }));
                followed.sort_unstable();
                followed.dedup();
            }
            lines.of_user(user, &followed)?;
        }
        Ok(())
    }

    /// Writes a graph in which everybody follows those with the next ids.
    fn write_ring(&self, lines: &mut Lines<'_, impl Write>) -> io::Result<()> {
        let mut followed: Vec<u32> = Vec::new();
        for user in 0..self.users {
            followed.clear();
            let next = |step| (u64::from(user) + u64::from(step)) % u64::from(self.users);
            let next = (1..=self.follows).map(|step| u32::try_from(next(step)).expect("a user"));
            followed.extend(next);
            followed.sort_unstable();
            lines.of_user(user, &followed)?;
        }
        Ok(())
    }
}

/// The edges of preferential attachment.
///
/// A choice in proportion to ties is a draw from the ends of all edges so far. Of these only one is
/// kept, since the other is known from the edge's place: 4 bytes an edge, and 16 a user, which are
/// 76 MB for a million users who follow 15 each.
struct Attached {
    /// How many each follows.
    follows: usize,
    /// Whom the users follow, in the order of their coming, `follows` for each.
    followed: Vec<u32>,
    /// The id of each user, less 1.
    ids: Vec<u32>,
}

impl Attached {
    /// Draws a graph.
    fn draw(graph: &Graph) -> Self {
        let (users, follows) = (graph.users, graph.follows as usize);
        let mut random = Random::new(graph.seed, EDGES);
        let mut followed = Vec::with_capacity(users as usize * follows);
        for user in 0..=graph.follows {
            followed.extend((0..=graph.follows).filter(|other| *other != user));
        }
        // By whom somebody was chosen last, so that nobody is chosen twice.
        let mut chosen_by = vec![0; users as usize];
        for user in graph.follows + 1..users {
            // Edges of its own are none of those that it chooses from.
            let n_edges = user as usize * follows;
            while followed.len() < n_edges + follows {
                let end = random.below(2 * n_edges as u64);
                let end = usize::try_from(end).expect("it is an end of an edge in memory");
                let other = match end.checked_sub(n_edges) {
                    None => u32::try_from(end / follows).expect("it is a user"),
                    Some(edge) => followed[edge],
                };
                if chosen_by[other as usize] != user {
                    chosen_by[other as usize] = user;
                    followed.push(other);
                }
            }
        }
        Self { follows, followed, ids: shuffled(users, graph.seed) }
    }

    /// Writes it in the order of ids.
    fn write(&self, lines: &mut Lines<'_, impl Write>) -> io::Result<()> {
        let mut users: Vec<u32> = vec![0; self.ids.len()];
        for (user, id) in (0..).zip(&self.ids) {
            users[*id as usize] = user;
        }
        let mut followed: Vec<u32> = Vec::new();
        for (id, user) in (0..).zip(users) {
            followed.clear();
            let from = user as usize * self.follows;
            let all = &self.followed[from..from + self.follows];
            followed.extend(all.iter().map(|other| self.ids[*other as usize]));
            followed.sort_unstable();
            lines.of_user(id, &followed)?;
        }
        Ok(())
    }
}

/// The numbers 0..n in an order that follows from `seed` (Fisher and Yates).
fn shuffled(n: u32, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed, IDS);
    let mut numbers: Vec<u32> = (0..n).collect();
    for k in (1..numbers.len()).rev() {
        let other = random.below(k as u64 + 1);
        numbers.swap(k, usize::try_from(other).expect("it is a place in memory"));
    }
    numbers
}

/// Lines on their way.
struct Lines<'a, W: Write> {
    /// Where they go.
    to: &'a mut W,
    /// What was not written yet.
    text: String,
    /// The follower as all its lines begin, kept for its memory.
    follower: String,
}

impl<W: Write> Lines<'_, W> {
    /// Adds the lines of a user with the users that it follows. Ids are these numbers plus 1.
    fn of_user(&mut self, user: u32, followed: &[u32]) -> io::Result<()> {
        self.follower.clear();
        push_number(u64::from(user) + 1, &mut self.follower);
        self.follower.push(' ');
        for other in followed {
            self.text.push_str(&self.follower);
            push_number(u64::from(*other) + 1, &mut self.text);
            self.text.push('\n');
        }
        if self.text.len() >= WRITE_BYTES {
            self.to.write_all(self.text.as_bytes())?;
            self.text.clear();
        }
        Ok(())
    }

    /// Writes what is left.
    fn finish(self) -> io::Result<()> {
        self.to.write_all(self.text.as_bytes())?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [Shape; 3] = [Shape::BarabasiAlbert, Shape::Uniform, Shape::Ring];

    /// The lines of a graph.
    fn text(shape: Shape, users: u64, follows: u64, seed: u64) -> String {
        let mut text = Vec::new();
        Graph::new(shape, users, follows, seed).unwrap().write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// The edges of a graph as (follower, followed).
    fn edges(shape: Shape, users: u64, follows: u64, seed: u64) -> Vec<(usize, usize)> {
        let edge = |line: &str| {
            let (a, b) = line.split_once(' ').unwrap();
            (a.parse().unwrap(), b.parse().unwrap())
        };
        text(shape, users, follows, seed).lines().map(edge).collect()
    }

    /// How many follow each of the users, the most followed first.
    fn followers(edges: &[(usize, usize)], users: usize) -> Vec<usize> {
        let mut counts = vec![0; users + 1];
        for (_, followed) in edges {
            counts[*followed] += 1;
        }
        counts[1..].sort_unstable_by(|a, b| b.cmp(a));
        counts.split_off(1)
    }

    #[test]
    fn everybody_follows_as_many_as_asked_and_nobody_itself_or_anybody_twice() {
        for shape in SHAPES {
            for (users, follows) in [(2, 1), (16, 15), (17, 15), (500, 15), (300, 100)] {
                let edges = edges(shape, users, follows, 7);
                let case = format!("{shape}, {users} users × {follows}");
                assert_eq!(edges.len() as u64, users * follows, "{case}");
                assert!(edges.is_sorted(), "{case}");
                assert!(edges.windows(2).all(|two| two[0] != two[1]), "{case}");
                assert!(edges.iter().all(|(follower, followed)| follower != followed), "{case}");
                let follow = |user| edges.iter().filter(|(it, _)| *it == user).count() as u64;
                let n_users = usize::try_from(users).unwrap();
                assert!((1..=n_users).all(|user| follow(user) == follows), "{case}");
                let is_user = |(_, followed): &(usize, usize)| (1..=n_users).contains(followed);
                assert!(edges.iter().all(is_user), "{case}");
            }
        }
    }

    #[test]
    fn preferential_attachment_has_the_tail_of_a_power_law_and_chance_has_none() {
        const USERS: usize = 20_000;
        let of = |shape| followers(&edges(shape, USERS as u64, 5, 3), USERS);
        let (attached, uniform, ring) =
            (of(Shape::BarabasiAlbert), of(Shape::Uniform), of(Shape::Ring));
        // The first have about 5 × √20,000 ties, 707, and by chance nobody has 30: Poisson's odds
        // of that with a mean of 5 are 10⁻¹³.
        assert!((300..3_000).contains(&attached[0]), "{:?}", &attached[..5]);
        assert!((12..30).contains(&uniform[0]), "{:?}", &uniform[..5]);
        assert!(ring.iter().all(|n| *n == 5));
        // The exponent of the tail of all ties (5 more than followers) that makes it the likeliest:
        // Clauset, Shalizi and Newman, SIAM Review 51 (2009), equation 3.7. The law's is 3.
        let ties: Vec<f64> =
            attached.iter().map(|n| (n + 5) as f64).filter(|n| *n >= 20.0).collect();
        let exponent = 1.0 + ties.len() as f64 / ties.iter().map(|n| (n / 19.5).ln()).sum::<f64>();
        assert!(ties.len() > 500 && (2.8..3.2).contains(&exponent), "{exponent} of {}", ties.len());
    }

    #[test]
    fn any_range_of_ids_is_a_fair_sample() {
        let edges = edges(Shape::BarabasiAlbert, 10_000, 5, 11);
        // The first tenth to come has about a third of all followers.
        let of_tenth = edges.iter().filter(|(_, followed)| *followed <= 1_000).count();
        assert!((4_000..6_500).contains(&of_tenth), "{of_tenth} of 50000");
    }

    #[test]
    fn the_same_seed_gives_the_same_graph_for_good() {
        assert_eq!(text(Shape::Ring, 4, 2, 1), "1 2\n1 3\n2 3\n2 4\n3 1\n3 4\n4 1\n4 2\n");
        let first = |shape| text(shape, 1_000, 3, 1).lines().take(3).collect::<Vec<_>>().join(",");
        assert_eq!(first(Shape::Uniform), "1 296,1 383,1 799");
        assert_eq!(first(Shape::BarabasiAlbert), "1 435,1 526,1 926");
        for shape in [Shape::Uniform, Shape::BarabasiAlbert] {
            assert_ne!(text(shape, 100, 3, 1), text(shape, 100, 3, 2), "{shape}");
        }
    }

    #[test]
    fn graphs_that_there_are_not_are_refused() {
        for (shape, users, follows, why) in [
            (Shape::Ring, 15, 15, "15 users cannot follow 15 others each; --users must be more"),
            (Shape::BarabasiAlbert, 30_000_000, 15, "450000000 edges are more than the 250000000"),
        ] {
            let error = Graph::new(shape, users, follows, 1).unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
        }
        assert_eq!(Graph::new(Shape::Uniform, 30_000_000, 15, 1).unwrap().n_edges(), 450_000_000);
    }
}
