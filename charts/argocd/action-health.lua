-- Health of a RemediationAction: did the remediation help? A closed one is over, and no harm.
local health = {status = "Progressing", message = "waiting for tars"}
if obj.status == nil then
  return health
end
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    return {status = "Degraded", message = condition.message}
  end
  if condition.type == "Verified" and condition.status == "True" then
    return {status = "Healthy", message = condition.message}
  end
  if condition.type == "Verified" and condition.status == "False" then
    health = {status = "Degraded", message = condition.message}
  end
end
if health.status == "Degraded" then
  return health
end
local phases = {
  Pending = "Progressing", Running = "Progressing",
  Succeeded = "Healthy", Cancelled = "Healthy", Failed = "Degraded",
}
return {status = phases[obj.status.phase] or "Progressing", message = obj.status.phase or "waiting for tars"}
