import socket,subprocess,time,os,re,urllib.request
open('/tmp/tok','w').write('a'*32); os.chmod('/tmp/tok',0o600)
p=subprocess.Popen(['/work/main/target/release/comet-server','--listen','127.0.0.1:0','--control','127.0.0.1:0','--control-token-file','/tmp/tok'],stdout=subprocess.PIPE,text=True)
p.stdout.readline(); port=int(re.search(r':(\d+)\s*$',p.stdout.readline()).group(1))
rss=lambda:int(re.search(r'VmRSS:\s+(\d+)',open(f'/proc/{p.pid}/status').read()).group(1))
r0=rss(); cs=[]
for i in range(4500):
    c=socket.socket(); c.setblocking(False)
    try: c.connect(('127.0.0.1',port))
    except BlockingIOError: pass
    cs.append(c)
def ask(path,data=None):
    t=time.time(); q=urllib.request.Request(f'http://127.0.0.1:{port}{path}',data=data,headers={'Authorization':'Bearer '+'a'*32})
    try: b=urllib.request.urlopen(q,timeout=30).read()
    except urllib.error.HTTPError as e: b=e.read()
    return round(time.time()-t,3),b[:40]
print('send',ask('/send/7',b'hello')); print('healthz',ask('/healthz')); print('again',ask('/send/7',b'hello')); print('rss',r0,rss(),'KB')
p.terminate()
