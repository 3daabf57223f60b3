# A server of 19,000 event streams that writes every message in two halves, all first halves before any second.
import socket, select, sys, time
N=int(sys.argv[1]); s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind(('127.0.0.1',0)); s.listen(4096)
print(s.getsockname()[1],flush=True)
conns=[]
while len(conns)<N:
    c,_=s.accept(); c.recv(4096); c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"); conns.append(c)
print("all",flush=True); time.sleep(3)
for n in range(1,6):
    for k,c in enumerate(conns): c.sendall(b"data: hello @%d~45#%d:%d.0bad" % (int(time.time()*1e6),k+1,n))
    print("halves",n,flush=True); time.sleep(2)
    for c in conns: c.sendall(b"cafe;\n\n")
    print("whole",n,flush=True); time.sleep(2)
time.sleep(600)
