cd /tmp; N=/work/main/target/release
taskset -c 0 $N/comet-server --listen 127.0.0.1:0 --control 127.0.0.1:0 > es.out 2>/dev/null & S=$!; sleep 0.4
P=$(sed -n 's#listening on http://127.0.0.1:\([0-9]*\)/.*#\1#p' es.out); C=$(sed -n 's#control on ##p' es.out)
$N/floodtest urls --count 10k --pattern "http://127.0.0.1:$P/test/{id}" > eu.txt
ticks() { awk '{ print $14 + $15 }' /proc/$1/stat; }
for r in 1 2 3; do for w in raw chunks events; do
 case $w in raw) taskset -c 1 /tmp/measure/cclient -p $P -n 10000 -c 100 -q -s 127.9.$r.2 -s 127.9.$r.3 > e.out & ;; chunks) taskset -c 1 $N/floodtest --urls eu.txt --rate max --json --report 1h > e.out 2>/dev/null & ;; events) taskset -c 1 $N/floodtest --urls eu.txt --rate max --sse --json --report 1h > e.out 2>/dev/null & ;; esac
 F=$!; for i in $(seq 100); do curl -s $C/stats | grep -q '"parked":10000' && break; sleep 0.1; done; sleep 0.5
 a=$(ticks $F); taskset -c 0 $N/msggen --num 2500 --interval 40 --max 10000 --sources 800 --batch 20 --seed 1 --stamp --json --server $C --connections 16 >/dev/null 2>&1 & M=$!; sleep 10; kill -INT $M; wait $M; sleep 0.5; b=$(ticks $F)
 n=$(curl -s $C/stats | python3 -c "import json,sys; print(json.load(sys.stdin)['written'])"); echo $w $a $b $n; kill -INT $F; wait $F 2>/dev/null; for i in $(seq 50); do curl -s $C/stats | grep -q '"parked":0' && break; sleep 0.1; done
done; done; kill $S
