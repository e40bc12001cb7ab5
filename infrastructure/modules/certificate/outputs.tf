output "certificate_arn" {
  description = "ARN of the certificate, once it is valid."
  value       = aws_acm_certificate_validation.this.certificate_arn
}

output "certificate_domain_name" {
  description = "The name the certificate is for."
  value       = aws_acm_certificate.this.domain_name
}

output "certificate_subject_alternative_names" {
  description = "Every name in the certificate."
  value       = aws_acm_certificate.this.subject_alternative_names
}
