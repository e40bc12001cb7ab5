output "rotation" {
  description = "The rotation function: names, ARNs, environment, log group and policy."
  value       = module.rotation
}

output "rotation_role_arn" {
  description = "Role of the rotation function. Apart from rotation, because policies name it before the function exists."
  value       = module.rotation.role_arn
}

output "withdraw" {
  description = "The withdrawal function: names, ARNs, environment, log group and policy."
  value       = module.withdraw
}

output "withdraw_role_arn" {
  description = "Role of the withdrawal function. Apart from withdraw, because policies name it before the function exists."
  value       = module.withdraw.role_arn
}
