%% The front end of part 2 of "A Million-user Comet Application with Mochiweb", as it stands there.
%% Compiled with -DHIBERNATE it is the article's second one, whose processes hibernate between
%% messages. A message has <br/> behind it in both; the article's first one has none.
-module(mochiconntest_web).

% the article calls requests and responses as objects, which mochiweb still allows
-compile(tuple_calls).

-export([start/1, stop/0, loop/1, feed/3]).

%% External API

start(Options) ->
    % we'll set our maximum to 1 million connections. (default: 2048)
    mochiweb_http:start([{max, 1000000}, {name, ?MODULE}, {loop, fun ?MODULE:loop/1} | Options]).

stop() ->
    mochiweb_http:stop(?MODULE).

loop(Req) ->
    "/" ++ Path = Req:get(path),
    case Req:get(method) of
        Method when Method =:= 'GET'; Method =:= 'HEAD' ->
            case Path of
                "test/" ++ IdStr ->
                    Response = Req:ok({"text/html; charset=utf-8",
                                       [{"Server", "Mochiweb-Test"}],
                                       chunked}),
                    % login using an integer rather than a string
                    {Id, _} = string:to_integer(IdStr),
                    router:login(Id, self()),
                    wait(Response, Id, 1);
                _ ->
                    Req:not_found()
            end;
        'POST' ->
            Req:not_found();
        _ ->
            Req:respond({501, [], []})
    end.

feed(Response, Id, N) ->
    receive
        {router_msg, Msg} ->
            Html = io_lib:format("Recvd msg #~w: '~s'<br/>", [N, Msg]),
            Response:write_chunk(Html)
    end,
    wait(Response, Id, N + 1).

-ifdef(HIBERNATE).
% Hibernate this process until it receives a message:
wait(Response, Id, N) ->
    proc_lib:hibernate(?MODULE, feed, [Response, Id, N]).
-else.
wait(Response, Id, N) ->
    feed(Response, Id, N).
-endif.
