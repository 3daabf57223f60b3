-- The requests that msggen makes, for wrk.
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", "/send/" .. n % 10000 + 1, nil, "Fake message Num = " .. n % 10000)
end
