cd /tmp; BASE=/work/wt/base/target/release; NEW=/work/main/target/release
rate() { tail -1 | python3 -c "import json,sys; r=json.loads(sys.stdin.read()); print(round(r['achieved_per_s']), end=' ')"; }
$NEW/examples/responder > resp.out & R=$!; taskset -cp 1 $R >/dev/null; sleep 0.5; D=$(cat resp.out)
echo "stamped, 10000 ids, one at a time x64 (base new)"; for i in 1 2 3 4 5; do for w in $BASE $NEW; do taskset -c 0 $w/msggen --num 2k --interval 0 --max 10000 --sources 64 --seed 1 --json --stamp --server $D 2>/dev/null | rate; done; echo; done
echo "not stamped"; for i in 1 2 3; do for w in $BASE $NEW; do taskset -c 0 $w/msggen --num 2k --interval 0 --max 10000 --sources 64 --seed 1 --json --server $D 2>/dev/null | rate; done; echo; done
echo "stamped, 10 ids: ordered, unordered"; for i in 1 2 3; do taskset -c 0 $NEW/msggen --num 500 --interval 0 --max 10 --sources 64 --seed 1 --json --stamp --server $D 2>/dev/null| rate;  taskset -c 0 $NEW/msggen --num 500 --interval 0 --max 10 --sources 64 --seed 1 --json --stamp --unordered --server $D 2>/dev/null| rate; echo; done
kill $R
echo "server: in-flight 16, 8 sources, nobody logged in; then one at a time; then batches (base new)"
for f in "--sources 8 --in-flight 16 --num 60k" "--sources 64 --num 2k" "--sources 8 --in-flight 2 --batch 100 --num 150k"; do for i in 1 2 3 4 5; do for w in $BASE $NEW; do
 $w/comet-server --listen 127.0.0.1:0 --control 127.0.0.1:0 > ms.out 2>/dev/null & S=$!; taskset -acp 1 $S >/dev/null; sleep 0.3; C=$(sed -n 's#control on ##p' ms.out)
 taskset -c 0 $BASE/msggen $f --interval 0 --max 10000 --seed 1 --json --server $C 2>/dev/null | rate; kill $S; wait $S 2>/dev/null; done; echo; done; echo --; done
