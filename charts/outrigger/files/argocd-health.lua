-- The health of an object whose status Outrigger writes, for Argo CD: what kstatus says of it (Flux, Helm).
-- Degraded: waiting cannot cure it. Progressing: it may become right when other objects come.
local health = { status = "Healthy", message = "" }
local status = obj.status
if status == nil then
  return health
end
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  health.status = "Progressing"
  health.message = "Waiting for a verdict on the latest change"
  return health
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    health.status = "Degraded"
    health.message = condition.message
    return health
  end
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    health.message = condition.message
    if condition.status ~= "True" then
      health.status = "Progressing"
    end
  end
end
return health
