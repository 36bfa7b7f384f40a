-- Health of a RemediationPolicy, as kstatus would judge it: what reports nothing is fine.
local health = {status = "Healthy", message = "nobody reports on it"}
if obj.spec ~= nil and obj.spec.suspend == true then
  return {status = "Suspended", message = "spec.suspend: nothing merges by itself"}
end
if obj.status == nil or obj.status.conditions == nil then
  return health
end
local function of(kind)
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == kind then
      return condition
    end
  end
  return {status = "Unknown", message = ""}
end
local observed = obj.status.observedGeneration
if observed ~= nil and obj.metadata.generation ~= nil and observed < obj.metadata.generation then
  return {status = "Progressing", message = "not read yet since it was changed"}
end
local stalled, ready, moving = of("Stalled"), of("Ready"), of("Reconciling")
if stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
if ready.status == "False" and moving.status ~= "True" then
  return {status = "Degraded", message = ready.message}
end
return {status = "Progressing", message = ready.message}
