resource "aws_ecr_repository" "this" {
  name                 = var.name
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.force_delete

  encryption_configuration {
    encryption_type = "KMS"
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  repository = aws_ecr_repository.this.name

  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Layers of failed pushes"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "Enough images to roll back to"
        selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.keep_images }
        action       = { type = "expire" }
      },
    ]
  })
}

# Lambda pulls the image again whenever it optimises it; only the one function that runs it may.
resource "aws_ecr_repository_policy" "this" {
  repository = aws_ecr_repository.this.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "PullForOneFunction"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      # The function itself and its versions.
      Condition = { ArnLike = { "aws:SourceArn" = [local._function_arn, "${local._function_arn}:*"] } }
    }]
  })
}

locals {
  # arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME names partition, region and account without asking AWS again.
  _arn          = split(":", aws_ecr_repository.this.arn)
  _function_arn = "arn:${local._arn[1]}:lambda:${local._arn[3]}:${local._arn[4]}:function:${var.function_name}"
}
