import os,signal,subprocess,time,sys
rig=int(sys.argv[1]); n=0
def kids(p):
    out=[]
    for t in os.listdir(f'/proc/{p}/task'):
        out+=[int(x) for x in open(f'/proc/{p}/task/{t}/children').read().split()]
    return out
def sender():
    for k in kids(rig):
        if open(f'/proc/{k}/comm').read().strip()=='msggen': return k
while sender() is None: time.sleep(1)
print('sender',sender(),time.time(),flush=True)
time.sleep(240)
for i in range(10):
    k=sender()
    if k is None: break
    os.kill(k,signal.SIGSTOP); time.sleep(2); os.kill(k,signal.SIGCONT); print('stopped',i+1,time.time(),flush=True)
    time.sleep(330)
