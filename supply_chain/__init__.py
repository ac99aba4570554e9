"""What the image is made of: its licences, its known vulnerabilities. No part of the package."""
