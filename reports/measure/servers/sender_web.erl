%% The door through which messages come to the article's router: POST /send/ID. The article calls
%% router:send from a shell of Erlang; what sends here is no Erlang.
-module(sender_web).

-compile(tuple_calls).

-export([start/1, loop/1]).

start(Options) ->
    mochiweb_http:start([{name, ?MODULE}, {loop, fun ?MODULE:loop/1} | Options]).

loop(Req) ->
    "/" ++ Path = Req:get(path),
    case {Req:get(method), Path} of
        {'POST', "send/" ++ IdStr} ->
            {Id, _} = string:to_integer(IdStr),
            ok = router:send(Id, Req:recv_body()),
            Req:ok({"text/plain", "ok"});
        _ ->
            Req:not_found()
    end.
