//! Charts of runs, of old logs, and of the article's own tools.

use std::fmt::Write as _;
use std::fs;

use crate::support::{Memlog, Target, draw, png_size, tool};

/// The article's lines, as it prints them.
const ARTICLE: &str = "\
Mon Oct 20 16:57:24 BST 2008 1224518244 40388 1
Mon Oct 20 16:58:25 BST 2008 1224518305 41120 263
Mon Oct 20 16:59:27 BST 2008 1224518367 65252 5267
Mon Oct 20 17:00:32 BST 2008 1224518432 89008 9836
Mon Oct 20 17:01:37 BST 2008 1224518497 90748 10001
Mon Oct 20 17:02:41 BST 2008 1224518561 90964 10001
Mon Oct 20 17:03:46 BST 2008 1224518626 90964 10001
Mon Oct 20 17:04:51 BST 2008 1224518691 90964 10001
Mon Oct 20 17:05:55 BST 2008 1224518755 90980 10001
Mon Oct 20 17:07:00 BST 2008 1224518820 91120 10001
Mon Oct 20 17:08:05 BST 2008 1224518885 98664 10001
Mon Oct 20 17:09:10 BST 2008 1224518950 106752 10001
Mon Oct 20 17:10:15 BST 2008 1224519015 114044 10001
Mon Oct 20 17:11:20 BST 2008 1224519080 119468 10001
Mon Oct 20 17:12:25 BST 2008 1224519145 125360 10001
";

/// The article's words to gnuplot, which end where its data begins.
const GNUPLOT: &str = "set terminal png size 500,300\nset xlabel \"Minutes Elapsed\"\n\
    set ylabel \"Mem (KB)\"\nset title \"Mem usage with 10k active connections, 1000 msg/sec\"\n\
    plot \"-\" using 1:2 with lines notitle\n";

/// The article's words to awk.
const AWK: &str =
    "BEGIN{FS=\"\\t\";} NR%10==0 {if(!t){t=$2} mins=($2-t)/60; printf(\"%d %d\\n\",mins,$3)}";

#[test]
fn the_articles_lines_are_drawn_alone_and_over_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("article.log"), ARTICLE).unwrap();
    draw(dir.path(), &["article.log", "--out", "a.png", "--size", "500x300"]);
    assert_eq!(png_size(&dir.path().join("a.png")), Some((500, 300)));
    // The four columns of its log, before they were printed.
    let columns = |line: &str| {
        let (rest, n) = line.rsplit_once(' ').unwrap();
        let (rest, rss) = rest.rsplit_once(' ').unwrap();
        let (date, unix) = rest.rsplit_once(' ').unwrap();
        format!("{date}\t{unix}\t{rss}\t{n}\n")
    };
    let four: String = ARTICLE.lines().map(columns).collect();
    fs::write(dir.path().join("four.log"), four).unwrap();
    draw(dir.path(), &["four.log", "--out", "b.png", "--size", "500x300"]);
    let same = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(same("a.png") == same("b.png"), "the same log draws the same chart");
    draw(dir.path(), &["four.log", "article.log", "--out", "over.svg"]);
    let svg = fs::read_to_string(dir.path().join("over.svg")).unwrap();
    assert!(svg.contains("four.log") && svg.contains("article.log"), "{svg}");
}

#[test]
fn the_chart_is_drawn_while_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "drawn");
    let pid = target.pid().to_string();
    let args = ["--pid", &pid, "--plot", "mem.png", "--size", "500x300"];
    let memlog = Memlog::start(dir.path(), &args);
    let chart = dir.path().join("mem.png");
    memlog.wait(|_| png_size(&chart).is_some());
    assert_eq!(png_size(&chart), Some((500, 300)));
    assert_eq!(memlog.interrupt().code, Some(0));
    assert_eq!(png_size(&chart), Some((500, 300)));
}

#[test]
fn our_log_is_drawn_by_the_articles_one_liner() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "gnuplotted");
    let memlog = Memlog::start(dir.path(), &["--pid", &target.pid().to_string()]);
    memlog.wait(|samples| samples.len() >= 20);
    assert_eq!(memlog.interrupt().code, Some(0));
    // awk takes every tenth line; those of one second have the same time.
    let log = fs::read_to_string(dir.path().join("mem.log")).unwrap();
    let Some(points) = tool("awk", &[AWK], log.as_bytes()) else { return };
    let points = String::from_utf8(points).unwrap();
    let expected: Vec<String> = log
        .lines()
        .skip(9)
        .step_by(10)
        .map(|it| format!("0 {}", it.split('\t').nth(2).unwrap()))
        .collect();
    assert_eq!(points.lines().collect::<Vec<_>>(), expected);
    // A line of ours, once for each minute of an hour.
    let line = log.lines().last().unwrap();
    let mut columns: Vec<String> = line.split('\t').map(ToOwned::to_owned).collect();
    let mut hour = String::new();
    for minute in 0..60 {
        columns[1] = (1_700_000_000 + minute * 60).to_string();
        writeln!(hour, "{}", columns.join("\t")).unwrap();
    }
    let Some(points) = tool("awk", &[AWK], hour.as_bytes()) else { return };
    let points = String::from_utf8(points).unwrap();
    let minutes: Vec<&str> = points.lines().map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(minutes, ["0", "10", "20", "30", "40", "50"]);
    assert!(points.lines().all(|it| it.ends_with(&format!(" {}", columns[2]))), "{points}");
    let Some(png) = tool("gnuplot", &[], format!("{GNUPLOT}{points}end\n").as_bytes()) else {
        return;
    };
    fs::write(dir.path().join("gnuplot.png"), png).unwrap();
    assert_eq!(png_size(&dir.path().join("gnuplot.png")), Some((500, 300)));
}
