%% What each of the article's two nodes does when it starts: erl … -run nodes router PORT, and
%% -run nodes web PORT ROUTER_NODE. In the article people type it into two shells.
-module(nodes).

-export([router/1, web/1]).

-define(BACKLOG, 4096).
% Milliseconds between two tries to reach the router's node, and their number.
-define(TRY_EVERY, 100).
-define(N_TRIES, 100).

router([Port]) ->
    stay(fun() ->
        {ok, _} = router:start_link(),
        {ok, _} = sender_web:start(options(Port))
    end).

web([Port, RouterNode]) ->
    stay(fun() ->
        ok = find_router(list_to_atom(RouterNode), ?N_TRIES),
        {ok, _} = mochiconntest_web:start(options(Port))
    end).

% What is started is linked to this process, as to the article's shells, and ends with it; the node
% ends when one of them does.
stay(Start) ->
    spawn(fun() ->
        process_flag(trap_exit, true),
        try Start() of
            _ -> receive {'EXIT', _, Why} -> give_up(Why) end
        catch
            _:Why -> give_up(Why)
        end
    end).

give_up(Why) ->
    io:format(standard_error, "~p~n", [Why]),
    init:stop(1).

options(Port) ->
    [{ip, "127.0.0.1"}, {port, list_to_integer(Port)}, {backlog, ?BACKLOG}, {nodelay, true}].

% A client that comes before the router is known would have nobody to log in with.
find_router(Node, NTries) when NTries > 0 ->
    net_adm:ping(Node),
    global:sync(),
    case global:whereis_name(router) of
        undefined ->
            timer:sleep(?TRY_EVERY),
            find_router(Node, NTries - 1);
        _ ->
            ok
    end.
