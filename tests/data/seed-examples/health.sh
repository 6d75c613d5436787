# Health check
curl http://localhost:8080/health

# Readiness check
curl http://localhost:8080/ready
