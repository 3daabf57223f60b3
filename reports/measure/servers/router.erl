%% The router of part 2 of "A Million-user Comet Application with Mochiweb", as it stands there,
%% with two changes: logins and logouts are not printed, because none of the servers beside it
%% prints them, and 'EXIT' leaves the tables as logout does, without the reply of a call.
-module(router).
-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3]).

-export([send/2, login/2, logout/1]).

-define(SERVER, global:whereis_name(?MODULE)).

% will hold bidirectional mapping between id <-> pid
-record(state, {pid2id, id2pid}).

start_link() ->
    gen_server:start_link({global, ?MODULE}, ?MODULE, [], []).

% sends Msg to anyone logged in as Id
send(Id, Msg) ->
    gen_server:call(?SERVER, {send, Id, Msg}).

login(Id, Pid) when is_pid(Pid) ->
    gen_server:call(?SERVER, {login, Id, Pid}).

logout(Pid) when is_pid(Pid) ->
    gen_server:call(?SERVER, {logout, Pid}).

%%

init([]) ->
    % set this so we can catch death of logged in pids:
    process_flag(trap_exit, true),
    % use ets for routing tables
    {ok, #state{
        pid2id = ets:new(?MODULE, [bag]),
        id2pid = ets:new(?MODULE, [bag])
    }}.

handle_call({login, Id, Pid}, _From, State) when is_pid(Pid) ->
    ets:insert(State#state.pid2id, {Pid, Id}),
    ets:insert(State#state.id2pid, {Id, Pid}),
    link(Pid), % tell us if they exit, so we can log them out
    {reply, ok, State};

handle_call({logout, Pid}, _From, State) when is_pid(Pid) ->
    unlink(Pid),
    forget(Pid, State),
    {reply, ok, State};

handle_call({send, Id, Msg}, _From, State) ->
    % get pids who are logged in as this Id
    Pids = [P || {_Id, P} <- ets:lookup(State#state.id2pid, Id)],
    % send Msg to them all
    M = {router_msg, Msg},
    [Pid ! M || Pid <- Pids],
    {reply, ok, State}.

% handle death and cleanup of logged in processes
handle_info({'EXIT', Pid, _Why}, State) ->
    % force logout:
    forget(Pid, State),
    {noreply, State};
handle_info(Wtf, State) ->
    io:format("Caught unhandled message: ~w~n", [Wtf]),
    {noreply, State}.

forget(Pid, State) ->
    PidRows = ets:lookup(State#state.pid2id, Pid),
    IdRows = [{I, P} || {P, I} <- PidRows], % invert tuples
    % delete all pid->id entries
    ets:delete(State#state.pid2id, Pid),
    % and all id->pid
    [ets:delete_object(State#state.id2pid, Obj) || Obj <- IdRows].

handle_cast(_Msg, State) ->
    {noreply, State}.

terminate(_Reason, _State) ->
    ok.

code_change(_OldVsn, State, _Extra) ->
    {ok, State}.
