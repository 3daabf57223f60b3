cd /tmp; BASE=/work/wt/base/target/release; NEW=/work/main/target/release
taskset -c 0 $NEW/comet-server --listen 127.0.0.1:0 --control 127.0.0.1:0 > os.out 2>/dev/null & S=$!
sleep 0.5; P=$(sed -n 's#listening on http://127.0.0.1:\([0-9]*\)/.*#\1#p' os.out)
$NEW/floodtest urls --count 10k --pattern "http://127.0.0.1:$P/test/{id}" > ou.txt
for i in 1 2 3 4 5; do for w in $BASE $NEW; do
 taskset -c 1 $w/floodtest --urls ou.txt --rate max --hold 0s --json --source-ip 127.$i.$((RANDOM%200+1)).$((RANDOM%200+1)) 2>/dev/null | tail -1 | python3 -c "
import json,sys; r=json.loads(sys.stdin.read()); print('$w'.split('/')[2:4], round(r['peak']/r['opening_s']))"; done; done; kill $S
